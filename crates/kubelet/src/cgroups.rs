//! The node's cgroup tree: `<root>/kubepods/{,burstable,besteffort}/pod<uid>`, as upstream's cgroupfs driver names it.

use crate::machine::NodeFacts;
use crate::pod::PodExt;
use crate::spec::resources;
use corten_sys::cgroup::{Cgroups, Limits, Usage};
use k8s_openapi::api::core::v1::Pod;

/// Where groups are made and limits set.
pub struct PodCgroups {
    root: String,
    /// None where the machine's groups cannot be used (tests): pods then run without groups of their own.
    kernel: Option<Cgroups>,
}

impl PodCgroups {
    /// `root` is absolute within the hierarchy, such as `/corten-1/node-1`.
    pub fn new(root: &str, kernel: Option<Cgroups>) -> Self {
        Self {
            root: format!("/{}", root.trim_matches('/')),
            kernel,
        }
    }

    fn top(&self) -> String {
        format!("{}/kubepods", self.root.trim_end_matches('/'))
    }

    /// The group of a pod.
    pub fn of(&self, pod: &Pod) -> String {
        let class = match resources::qos_class(pod) {
            "Burstable" => "/burstable",
            "BestEffort" => "/besteffort",
            _ => "",
        };
        format!("{}{class}/pod{}", self.top(), pod.uid())
    }

    /// Makes the tree above the pods.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn prepare(&self, node: &NodeFacts) -> Result<(), String> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let text = |e: corten_sys::Error| e.to_string();
        let top = self.top();
        kernel.create(&top).map_err(text)?;
        let all = Limits {
            cpu_shares: u64::try_from(resources::shares(node.cpu_milli)).ok(),
            ..Limits::default()
        };
        kernel.apply(&top, &all).map_err(text)?;
        for (class, shares) in [("burstable", None), ("besteffort", Some(2))] {
            let path = format!("{top}/{class}");
            kernel.create(&path).map_err(text)?;
            kernel
                .apply(
                    &path,
                    &Limits {
                        cpu_shares: shares,
                        ..Limits::default()
                    },
                )
                .map_err(text)?;
        }
        Ok(())
    }

    /// Makes the pod's group, or brings its limits up to date.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn ensure(&self, pod: &Pod) -> Result<(), String> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let path = self.of(pod);
        let r = resources::pod_cgroup(pod);
        let positive = |v: i64| Some(v).filter(|v| *v > 0);
        let limits = Limits {
            cpu_shares: u64::try_from(r.cpu_shares).ok(),
            cpu_quota_us: positive(r.cpu_quota),
            cpu_period_us: u64::try_from(r.cpu_period).ok().filter(|p| *p > 0),
            memory_bytes: positive(r.memory_limit_in_bytes),
            ..Limits::default()
        };
        kernel
            .create(&path)
            .and_then(|()| kernel.apply(&path, &limits))
            .map_err(|e| e.to_string())
    }

    /// Kills what is left of the pod and removes its group.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self, pod: &Pod) -> Result<(), String> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        kernel.remove(&self.of(pod)).map_err(|e| e.to_string())
    }

    pub fn usage(&self, pod: &Pod) -> Option<Usage> {
        self.kernel.as_ref()?.usage(&self.of(pod))
    }

    /// What all pods of the node use.
    pub fn usage_of_pods(&self) -> Option<Usage> {
        self.kernel.as_ref()?.usage(&self.top())
    }
}
