//! The home of a user whom only the image knows.

use agentkernel_backend::{BackendError, Guest};
use agentkernel_model::{BoxPath, ExecRequest, SandboxSpec, UserSpec};
use tokio::io::AsyncReadExt;

use crate::EngineError;

/// The longest user database that is read: it comes out of the box.
const LIMIT_BYTES: u64 = 1 << 20;

/// Sets HOME as a login would where neither the user nor the image has said it: from the box's own `/etc/passwd`, else
/// `/`, as container engines have it. Our own default of root's home is no word on the matter.
pub(crate) async fn set_home(
    request: &mut ExecRequest,
    spec: &SandboxSpec,
    guest: &dyn Guest,
) -> Result<(), EngineError> {
    if spec.image.is_host() {
        return Ok(());
    }
    let at = request.env.iter().position(|variable| variable.name.as_bytes() == b"HOME");
    let said = at.map(|at| request.env[at].value.as_bytes());
    let user = request.user.as_ref().filter(|user| !is_root(user));
    let home = match (user, said) {
        (None, Some(_)) => return Ok(()),
        (Some(_), Some(said)) if said != b"/root" => return Ok(()),
        (None, None) => "/root".to_owned(),
        (Some(user), _) => home_of(user, guest).await?.unwrap_or_else(|| "/".to_owned()),
    };
    let variable = agentkernel_model::EnvVar { name: "HOME".into(), value: home.as_str().into() };
    match at {
        Some(at) => request.env[at] = variable,
        None => request.env.push(variable),
    }
    Ok(())
}

fn is_root(user: &UserSpec) -> bool {
    user.user == "root" || user.user == "0"
}

async fn home_of(user: &UserSpec, guest: &dyn Guest) -> Result<Option<String>, EngineError> {
    let passwd = BoxPath::new("/etc/passwd").map_err(crate::PlanError::from)?;
    let file = match guest.read_file(&passwd).await {
        Ok(file) => file,
        // An image of a lone program has none; one that hides it gets no better answer.
        Err(BackendError::NotFound { .. } | BackendError::Invalid { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(LIMIT_BYTES).read_to_end(&mut bytes).await {
        tracing::debug!(%error, "the user database of the box can't be read");
        return Ok(None);
    }
    Ok(find(&String::from_utf8_lossy(&bytes), &user.user))
}

/// A name before a number, as the agent has it (passwd(5)).
fn find(passwd: &str, user: &str) -> Option<String> {
    let lines =
        || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|line| line.len() >= 6);
    let by_name = lines().find(|line| line[0] == user);
    let known = by_name.or_else(|| lines().find(|line| line[2] == user))?;
    let home = known[5];
    (home.starts_with('/') && !home.contains('\0')).then(|| home.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_found_by_name_and_number_and_nonsense_is_none() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\nodd:x:7:7::relative:\nbad\n";
        assert_eq!(find(passwd, "node").as_deref(), Some("/home/node"));
        assert_eq!(find(passwd, "1000").as_deref(), Some("/home/node"));
        for nobody in ["odd", "7", "bad", "2000", ""] {
            assert_eq!(find(passwd, nobody), None, "{nobody}");
        }
    }
}
