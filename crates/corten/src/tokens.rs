//! `--token-auth-file`: who has which token, as upstream reads it.

use anyhow::{Context, bail};
use corten_auth::UserInfo;
use std::path::Path;

/// The users of a file of records `token,user,uid[,"group,group"]`, by token.
///
/// # Errors
/// A file that cannot be read, or a record that names no uid.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<(String, UserInfo)>> {
    let named = || format!("--token-auth-file {}", file.display());
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_path(file)
        .with_context(named)?;
    let mut users: Vec<(String, UserInfo)> = Vec::new();
    for (number, record) in (1..).zip(reader.records()) {
        let record = record.with_context(named)?;
        let (Some(token), Some(name), Some(uid)) = (record.get(0), record.get(1), record.get(2)) else {
            let found = record.len();
            bail!(
                "{}: record {number} must have at least 3 columns (token, user name, user uid), found {found}",
                named()
            );
        };
        if token.is_empty() {
            tracing::warn!(file = %file.display(), record = number, "an empty token lets nobody in");
            continue;
        }
        if users.iter().any(|(known, _)| known == token) {
            tracing::warn!(file = %file.display(), record = number, "a token stands twice; the last counts");
            users.retain(|(known, _)| known != token);
        }
        let mut user = UserInfo::new(
            name,
            record.get(3).into_iter().flat_map(|groups| groups.split(',')),
        );
        uid.clone_into(&mut user.uid);
        users.push((token.to_owned(), user));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> anyhow::Result<Vec<(String, UserInfo)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn records_are_users() {
        let users = of("t1,ann,1,\"system:masters,dev\"\n\n,nobody,0\nt2,bob,2\nt1,eve,3\n").unwrap();
        let seen: Vec<_> = users
            .iter()
            .map(|(token, user)| (&**token, &*user.username, &*user.uid, user.groups.join(" ")))
            .collect();
        let everyone = "system:authenticated".to_owned();
        assert_eq!(
            seen,
            [("t2", "bob", "2", everyone.clone()), ("t1", "eve", "3", everyone)]
        );
        let groups = &of("t,ann,1,\"system:masters,dev\"").unwrap()[0].1.groups;
        assert_eq!(groups.join(" "), "system:masters dev system:authenticated");
    }

    #[test]
    fn what_is_no_record_is_named() {
        let error = of("t1,ann,1\nt2,bob\n").unwrap_err().to_string();
        assert!(error.contains("record 2 must have at least 3 columns"), "{error}");
        assert!(read(Path::new("/nowhere")).is_err());
    }
}
