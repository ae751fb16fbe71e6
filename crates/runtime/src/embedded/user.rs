//! Who a container runs as: numbers and names from the request, the image, and the image's own passwd and group files.

use crate::cri::{LinuxContainerSecurityContext, SupplementalGroupsPolicy};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Files larger than this are taken for an attack on memory.
const MAX_FILE: u64 = 4 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// `/etc/passwd` and `/etc/group` of an image, as its merged layers show them.
#[derive(Debug, Default)]
pub struct Accounts {
    passwd: Vec<(String, u32, u32, String)>,
    group: Vec<(String, u32, Vec<String>)>,
}

/// Finds a file in layers, topmost first, as overlayfs would: a whiteout hides what is below.
fn read_from_layers(layers: &[PathBuf], name: &str) -> String {
    for layer in layers {
        let etc = layer.join("etc");
        match fs::symlink_metadata(etc.join(name)) {
            Ok(meta) if meta.file_type().is_char_device() => return String::new(),
            Ok(meta) if meta.is_file() && meta.len() <= MAX_FILE => {
                return fs::read_to_string(etc.join(name)).unwrap_or_default();
            }
            _ => {}
        }
        let opaque = is_opaque(&etc);
        let hidden = fs::symlink_metadata(&etc).is_ok_and(|meta| meta.file_type().is_char_device());
        if opaque || hidden {
            break;
        }
    }
    String::new()
}

fn is_opaque(dir: &Path) -> bool {
    let mut value = [0u8; 1];
    matches!(
        rustix::fs::lgetxattr(dir, "trusted.overlay.opaque", &mut value),
        Ok(1)
    ) && value == *b"y"
}

impl Accounts {
    pub fn from_layers(layers: &[PathBuf]) -> Self {
        Self::parse(
            &read_from_layers(layers, "passwd"),
            &read_from_layers(layers, "group"),
        )
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let home = fields.get(5).copied().unwrap_or_default().to_owned();
            Some((
                (*fields.first()?).to_owned(),
                fields.get(2)?.parse().ok()?,
                fields.get(3)?.parse().ok()?,
                home,
            ))
        };
        let group_line = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let members = fields
                .get(3)
                .map(|list| list.split(',').map(str::to_owned).collect())
                .unwrap_or_default();
            Some((
                (*fields.first()?).to_owned(),
                fields.get(2)?.parse().ok()?,
                members,
            ))
        };
        Self {
            passwd: passwd.lines().filter_map(user).collect(),
            group: group.lines().filter_map(group_line).collect(),
        }
    }

    fn user(&self, name: &str) -> Option<&(String, u32, u32, String)> {
        let number = name.parse::<u32>().ok();
        self.passwd
            .iter()
            .find(|entry| entry.0 == name)
            .or_else(|| self.passwd.iter().find(|e| Some(e.1) == number))
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.group
            .iter()
            .find(|entry| entry.0 == name)
            .map(|entry| entry.1)
            .or_else(|| name.parse().ok())
    }

    /// Groups that list the user as a member.
    fn memberships(&self, user: &str) -> impl Iterator<Item = u32> {
        self.group
            .iter()
            .filter(move |entry| entry.2.iter().any(|member| member == user))
            .map(|entry| entry.1)
    }

    /// Decides by the request first, then by the image's `user[:group]`. Errors in containerd's words.
    pub fn resolve(&self, context: &LinuxContainerSecurityContext, image_user: &str) -> Result<User, String> {
        let number =
            |value: i64| u32::try_from(value).map_err(|_| format!("invalid user or group id {value}"));
        let requested = match (&context.run_as_user, context.run_as_username.as_str()) {
            (Some(uid), _) => number(uid.value)?.to_string(),
            (None, "") => String::new(),
            (None, name) => name.to_owned(),
        };
        if requested.is_empty() && context.run_as_group.is_some() && image_user.is_empty() {
            return Err("user group is specified without user".to_owned());
        }
        let from_image = requested.is_empty();
        let (user_part, group_part) = match image_user.split_once(':') {
            _ if !from_image => (requested.as_str(), None),
            Some((user, group)) => (user, Some(group)),
            None => (image_user, None),
        };
        let entry = self.user(if user_part.is_empty() { "0" } else { user_part });
        let uid = match (entry, user_part) {
            (Some(entry), _) => entry.1,
            (None, "") => 0,
            (None, name) => name
                .parse()
                .map_err(|_| format!("no users found: user {name:?} is not in /etc/passwd"))?,
        };
        let gid = match (&context.run_as_group, group_part) {
            (Some(gid), _) => number(gid.value)?,
            (None, Some(name)) => self
                .group(name)
                .ok_or_else(|| format!("no groups found: group {name:?}"))?,
            (None, None) => entry.map_or(0, |entry| entry.2),
        };
        let groups = self.groups(context, entry.map(|entry| entry.0.as_str()), gid)?;
        let home = entry.map_or("/", |entry| entry.3.as_str());
        Ok(User {
            uid,
            gid,
            groups,
            home: if home.is_empty() { "/".into() } else { home.into() },
        })
    }

    /// The group itself, those asked for, and, unless the policy is strict, those of the image.
    fn groups(
        &self,
        context: &LinuxContainerSecurityContext,
        user: Option<&str>,
        gid: u32,
    ) -> Result<Vec<u32>, String> {
        let mut groups = BTreeSet::from([gid]);
        for group in &context.supplemental_groups {
            groups.insert(u32::try_from(*group).map_err(|_| format!("invalid supplemental group {group}"))?);
        }
        let strict = context.supplemental_groups_policy == SupplementalGroupsPolicy::Strict as i32;
        if let (Some(user), false) = (user, strict) {
            groups.extend(self.memberships(user));
        }
        Ok(groups.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cri::Int64Value;

    #[test]
    fn spoiled_accounts_are_read() {
        let corpus = [
            b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:\n".to_vec(),
            b"app:x:1000:app,b\n".to_vec(),
        ];
        corten_fuzz::spoil("accounts", &corpus, |input| {
            let text = String::from_utf8_lossy(input);
            let accounts = super::Accounts::parse(&text, &text);
            let _ = (
                accounts.user("app"),
                accounts.group("app"),
                accounts.memberships("b").count(),
            );
        });
    }

    fn accounts() -> Accounts {
        Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n",
            "root:x:0:\napp:x:1001:\nextra:x:2000:app,other\n",
        )
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> User {
        User {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.into(),
        }
    }

    #[test]
    fn from_the_image() {
        let none = LinuxContainerSecurityContext::default();
        assert_eq!(accounts().resolve(&none, "").unwrap(), user(0, 0, &[0], "/root"));
        assert_eq!(
            accounts().resolve(&none, "app").unwrap(),
            user(1000, 1001, &[1001, 2000], "/srv")
        );
        assert_eq!(
            accounts().resolve(&none, "app:extra").unwrap(),
            user(1000, 2000, &[2000], "/srv")
        );
        assert_eq!(
            accounts().resolve(&none, "65532:65532").unwrap(),
            user(65532, 65532, &[65532], "/")
        );
        assert!(accounts().resolve(&none, "nobody").is_err());
    }

    #[test]
    fn from_the_request() {
        let strict = LinuxContainerSecurityContext {
            run_as_user: Some(Int64Value { value: 1000 }),
            run_as_group: Some(Int64Value { value: 3000 }),
            supplemental_groups: vec![4000],
            supplemental_groups_policy: SupplementalGroupsPolicy::Strict as i32,
            ..Default::default()
        };
        assert_eq!(
            accounts().resolve(&strict, "root").unwrap(),
            user(1000, 3000, &[3000, 4000], "/srv")
        );
        let group_only = LinuxContainerSecurityContext {
            run_as_group: Some(Int64Value { value: 1 }),
            ..Default::default()
        };
        assert!(accounts().resolve(&group_only, "").is_err());
    }
}
