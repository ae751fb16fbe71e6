//! Where everything of one cluster lies below its data directory.

use std::path::{Path, PathBuf};

/// The layout of a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) root: PathBuf,
}

impl Paths {
    /// `data_dir` made absolute, so that the processes of a cluster agree on it whatever their working directory.
    pub(crate) fn new(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            root: std::path::absolute(data_dir)?,
        })
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.root.join("admin.kubeconfig")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("corten.log")
    }

    pub(crate) fn pid(&self) -> PathBuf {
        self.root.join("corten.pid")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("corten.lock")
    }

    /// Held network namespaces of `up --nodes N`.
    pub(crate) fn namespaces(&self) -> PathBuf {
        self.root.join("netns")
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.nodes().join(name)
    }
}
