//! The environment that every command of a sandbox starts with.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use agentkernel_model::{ByteString, EnvVar};

/// Where commands are looked up unless the image or the user say otherwise.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// By which a command finds out in which sandbox it runs.
pub(crate) const SANDBOX_VARIABLE: &str = "AGENTKERNEL_SANDBOX";

/// Its value where the sandbox has no name.
pub(crate) const UNNAMED_SANDBOX: &str = "run";

/// The host name of a sandbox without a name.
pub(crate) const UNNAMED_HOST: &str = "agentkernel";

/// What the defaults depend on.
pub(super) struct Defaults<'a> {
    /// The sandbox's name.
    pub(super) sandbox: &'a str,
    /// The home; `None` where it is that of a user whom only the image knows.
    pub(super) home: Option<&'a str>,
    /// Folders that stand first in PATH.
    pub(super) tools: &'a [PathBuf],
    /// The image's own variables.
    pub(super) image: &'a [EnvVar],
}

impl Defaults<'_> {
    /// The image's variables, and ours where it is silent; whatever tool chains bring and the user names comes over them.
    pub(super) fn variables(&self) -> Vec<EnvVar> {
        let mut all = self.image.to_vec();
        let mut path = Vec::new();
        for folder in self.tools {
            path.extend_from_slice(folder.as_os_str().as_bytes());
            path.push(b':');
        }
        match self.of_image("PATH") {
            Some(of_image) => path.extend_from_slice(of_image.as_bytes()),
            None => path.extend_from_slice(PATH.as_bytes()),
        }
        set(&mut all, "PATH", ByteString(path));
        if let (Some(home), None) = (self.home, self.of_image("HOME")) {
            set(&mut all, "HOME", home.into());
        }
        if self.of_image("LANG").is_none() {
            set(&mut all, "LANG", "C.UTF-8".into());
        }
        // No image decides where a command believes to be.
        set(&mut all, SANDBOX_VARIABLE, self.sandbox.into());
        all
    }

    fn of_image(&self, name: &str) -> Option<&ByteString> {
        let found = self.image.iter().rfind(|variable| variable.name.as_bytes() == name.as_bytes());
        found.map(|variable| &variable.value)
    }
}

fn set(variables: &mut Vec<EnvVar>, name: &str, value: ByteString) {
    variables.retain(|variable| variable.name.as_bytes() != name.as_bytes());
    variables.push(EnvVar { name: name.into(), value });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(image: &[(&str, &str)], home: Option<&str>, tools: &[&str]) -> Vec<String> {
        let image: Vec<EnvVar> = image
            .iter()
            .map(|(name, value)| EnvVar { name: (*name).into(), value: (*value).into() })
            .collect();
        let tools: Vec<PathBuf> = tools.iter().map(PathBuf::from).collect();
        let all = Defaults { sandbox: "box", home, tools: &tools, image: &image }.variables();
        all.iter()
            .map(|variable| format!("{}={}", variable.name.to_lossy(), variable.value.to_lossy()))
            .collect()
    }

    #[test]
    fn an_image_is_believed_where_it_speaks() {
        assert_eq!(
            variables(&[], Some("/root"), &["/t"]),
            [&format!("PATH=/t:{PATH}"), "HOME=/root", "LANG=C.UTF-8", "AGENTKERNEL_SANDBOX=box"]
        );
        let image =
            [("A", "1"), ("PATH", "/i"), ("HOME", "/h"), ("LANG", "C"), ("AGENTKERNEL_SANDBOX", "liar")];
        assert_eq!(
            variables(&image, Some("/root"), &["/t"]),
            ["A=1", "HOME=/h", "LANG=C", "PATH=/t:/i", "AGENTKERNEL_SANDBOX=box"]
        );
        assert!(!variables(&[], None, &[]).iter().any(|line| line.starts_with("HOME=")));
    }
}
