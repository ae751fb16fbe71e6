use crate::lifecycle::shell;
use crate::node::Node;
use corten_runtime::cri::{
    Capability, Code, LinuxContainerSecurityContext, Mount, MountPropagation, NamespaceMode, RuntimeService,
    SecurityProfile, security_profile::ProfileType,
};
use std::time::Duration;

fn context(config: &mut corten_runtime::cri::ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_and_privileges() {
    let node = Node::new().await;
    let (_, text) = node
        .output(
            |_| {},
            "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'",
        )
        .await;
    assert_eq!(
        text,
        "CapEff:00000000a80425fb\nCapBnd:00000000a80425fb\nNoNewPrivs:0\nSeccomp:0\n"
    );
    let change = |config: &mut corten_runtime::cri::ContainerConfig| {
        context(config).capabilities = Some(Capability {
            add_capabilities: vec!["NET_BIND_SERVICE".into()],
            drop_capabilities: vec!["ALL".into()],
            add_ambient_capabilities: vec![],
        });
        context(config).no_new_privs = true;
        context(config).seccomp = Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        });
    };
    let (_, text) = node
        .output(
            change,
            "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'",
        )
        .await;
    assert_eq!(text, "CapEff:0000000000000400\nNoNewPrivs:1\nSeccomp:2\n");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_filter_holds_without_no_new_privs() {
    let node = Node::new().await;
    let change = |config: &mut corten_runtime::cri::ContainerConfig| {
        context(config).seccomp = Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        });
    };
    let (_, text) = node
        .output(change, "unshare -U true 2>&1; echo $?; ls / | wc -l")
        .await;
    assert!(
        text.starts_with("unshare: ") && text.contains("Operation not permitted\n1\n"),
        "{text}"
    );
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_systems() {
    let node = Node::new().await;
    let (_, text) = node
        .output(
            |config| context(config).readonly_rootfs = true,
            "touch /x 2>&1; touch /dev/shm/x && echo shm; cat /proc/keys | wc -c; \
             (echo 1 > /proc/sys/kernel/panic) 2>&1; cat /etc/hostname; stat -c %a /tmp; mount | grep -c ' /sys/fs/cgroup'",
        )
        .await;
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("touch: /x: Read-only file system"));
    assert_eq!(lines.next(), Some("shm"));
    assert_eq!(lines.next(), Some("0"));
    assert!(lines.next().unwrap().contains("Read-only file system"));
    assert!(lines.next().unwrap().starts_with('p'));
    assert_eq!(lines.next(), Some("1777"));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes() {
    let node = Node::new().await;
    let (a, b) = (node.dir.path().join("a"), node.dir.path().join("b"));
    std::fs::create_dir_all(&a).unwrap();
    std::fs::write(&b, "content\n").unwrap();
    let mount = |host: &std::path::Path, inside: &str, readonly| Mount {
        container_path: inside.into(),
        host_path: host.to_string_lossy().into_owned(),
        readonly,
        recursive_read_only: readonly,
        propagation: MountPropagation::PropagationPrivate as i32,
        ..Default::default()
    };
    let mounts = vec![
        mount(&a, "/data", false),
        mount(&b, "/data/deep/file", true),
        mount(&a, "/again", true),
    ];
    let script =
        "cat /data/deep/file; echo new > /data/new; touch /again/x 2>&1; echo more >> /data/deep/file";
    let (_, text) = node.output(|config| config.mounts = mounts, script).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "content");
    assert!(
        lines[1].contains("Read-only file system") && lines[2].contains("Read-only file system"),
        "{text}"
    );
    assert_eq!(std::fs::read_to_string(a.join("new")).unwrap(), "new\n");
    assert_eq!(std::fs::read_to_string(&b).unwrap(), "content\n");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_image_does_not_lead_a_mount_outside() {
    let node = Node::new().await;
    let outside = tempfile::tempdir().unwrap();
    let source = node.dir.path().join("volume");
    std::fs::create_dir_all(&source).unwrap();
    let layer = crate::fixture::busybox_layer();
    let link = outside.path().to_string_lossy().into_owned();
    let evil = crate::fixture::Tar::new()
        .link("out", &link, tar::EntryType::Symlink)
        .bytes();
    let layers: [&[u8]; 2] = [&layer, &evil];
    let config = crate::fixture::config(
        crate::fixture::node_architecture(),
        &layers,
        serde_json::json!({}),
    );
    let archive = node.dir.path().join("evil.tar");
    std::fs::write(
        &archive,
        crate::fixture::docker_archive("evil:1", &config, &layers),
    )
    .unwrap();
    let quiet = corten_runtime::image::quiet();
    let image = corten_runtime::image::import(node.runtime().images(), &archive, &quiet).unwrap()[0]
        .id
        .clone();
    let (sandbox, pod) = node.sandbox("one").await;
    let mut config = node.script("main", "true");
    config.image.as_mut().unwrap().image = image;
    config.mounts = vec![Mount {
        container_path: "/out/sub".into(),
        host_path: source.to_string_lossy().into_owned(),
        ..Default::default()
    }];
    let id = node
        .runtime()
        .create_container(&sandbox, config, &pod)
        .await
        .unwrap();
    // Whether it starts with the mount inside its own root, or not at all.
    let _ = node.runtime().start_container(&id).await;
    assert_eq!(
        std::fs::read_dir(outside.path()).unwrap().count(),
        0,
        "something was made outside"
    );
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_shared_and_not() {
    let node = Node::new().await;
    let mut pod = node.pod("shared");
    let options = pod
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap()
        .namespace_options
        .as_mut()
        .unwrap();
    options.pid = NamespaceMode::Pod as i32;
    let sandbox = node.runtime().run_pod_sandbox(pod.clone(), "").await.unwrap();
    let share = |mut config: corten_runtime::cri::ContainerConfig| {
        context(&mut config).namespace_options.as_mut().unwrap().pid = NamespaceMode::Pod as i32;
        config
    };
    let first = node
        .start(
            &sandbox,
            &pod,
            share(node.script("a", "sleep 1234 & touch /dev/shm/hello; sleep 4321")),
        )
        .await;
    let second = node
        .start(&sandbox, &pod, share(node.script("b", "sleep 1000")))
        .await;
    let five = Duration::from_secs(5);
    let wait = shell("while ! ls /dev/shm/hello; do :; done; ps; cat /proc/1/comm");
    let output = node.runtime().exec_sync(&second, wait, five).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("sleep 4321") && text.ends_with("sandbox-init\n"),
        "{text}"
    );
    // What a container leaves behind in a shared namespace ends with it: killed before the stop returns, gone soon after.
    node.runtime()
        .stop_container(&first, Duration::ZERO)
        .await
        .unwrap();
    let gone = shell("while ps | grep -q 'sleep 123[4]'; do :; done; echo gone");
    let output = node.runtime().exec_sync(&second, gone, five).await.unwrap();
    assert_eq!(output.stdout, b"gone\n");

    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_of_the_node() {
    let node = Node::new().await;
    let mut host = node.pod("host");
    let options = host
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap()
        .namespace_options
        .as_mut()
        .unwrap();
    (options.network, options.pid, options.ipc) = (
        NamespaceMode::Node as i32,
        NamespaceMode::Node as i32,
        NamespaceMode::Node as i32,
    );
    let namespace_options = options.clone();
    let sandbox = node.runtime().run_pod_sandbox(host.clone(), "").await.unwrap();
    let mut config = node.script(
        "h",
        "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done; sleep 1000 & sleep 1000",
    );
    context(&mut config).namespace_options = Some(namespace_options);
    let id = node.start(&sandbox, &host, config).await;
    while node.log_text("h").lines().count() < 4 {
        tokio::task::yield_now().await;
    }
    node.runtime().stop_container(&id, Duration::ZERO).await.unwrap();
    let own: String = ["net", "pid", "ipc", "uts"]
        .map(|name| {
            std::fs::read_link(format!("/proc/self/ns/{name}"))
                .unwrap()
                .display()
                .to_string()
                + "\n"
        })
        .concat();
    assert_eq!(node.log_text("h"), own);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_containers_see_devices() {
    let node = Node::new().await;
    let (_, text) = node
        .output(
            |config| context(config).privileged = true,
            "test -e /dev/kmsg && echo kmsg; touch /sys/fs 2>&1; grep CapBnd /proc/self/status | tr -d '\\t'; mkdir /m && mount -t tmpfs none /m && echo mounted",
        )
        .await;
    assert!(text.contains("kmsg\n") && text.ends_with("mounted\n"), "{text}");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_named() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let mut config = node.script("a", "true");
    config.image.as_mut().unwrap().image = "not-here:1".into();
    let error = node
        .runtime()
        .create_container(&sandbox, config, &pod)
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    let mut config = node.script("b", "true");
    context(&mut config).run_as_username = "nobody-here".into();
    let error = node
        .runtime()
        .create_container(&sandbox, config, &pod)
        .await
        .unwrap_err();
    assert!(error.message.contains("nobody-here"), "{error}");
    let error = node
        .runtime()
        .run_pod_sandbox(node.pod("one"), "")
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::AlreadyExists);
    assert_eq!(
        node.runtime()
            .pod_sandbox_status("nope", false)
            .await
            .unwrap_err()
            .code,
        Code::NotFound
    );
    node.runtime().remove_pod_sandbox("nope").await.unwrap();
    node.finish().await;
}
