//! The images of the test bed, unpacked once for all cases of all processes of one user.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use agentkernel_backend_native::{NativeSettings, image_store};
use agentkernel_image::{ImportRequest, ImportSource};
use agentkernel_model::{ImageConfig, ImageRef};

/// The images of the bed that are small enough to be unpacked for each user, the one that cases run on first.
const NAMES: [&str; 3] = ["busybox", "musl", "static"];

/// The program that unpacks for users with subordinate ids: the command line that was built beside this test.
pub(crate) fn unpacker() -> PathBuf {
    let own = std::env::current_exe().expect("this program's path");
    own.parent().and_then(Path::parent).map(|folder| folder.join("agentkernel")).unwrap_or_default()
}

/// Makes the bed's images those of the state in `state_dir`; which of them cases run on.
pub(crate) fn link_into(state_dir: &Path, settings: &NativeSettings) -> Result<ImageRef, String> {
    let bed = std::env::var_os("AGENTKERNEL_TEST_BED").map(PathBuf::from);
    let bed = bed.ok_or("AGENTKERNEL_TEST_BED is not set (start it with `cargo xtask test-bed start`)")?;
    let shared = fill(&bed, settings)?;
    std::os::unix::fs::symlink(shared.join("images"), state_dir.join("images"))
        .map_err(|error| error.to_string())?;
    format!("agentkernel-test/{}:1", NAMES[0]).parse().map_err(|error| format!("{error}"))
}

/// A state folder with the images of the bed: in the bed, or where this user may write; another one for another bed.
fn fill(bed: &Path, settings: &NativeSettings) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| error.to_string();
    let archive = |name: &str| bed.join(format!("images/{name}.docker.tar"));
    let made = std::fs::metadata(archive(NAMES[0])).and_then(|metadata| metadata.modified());
    let made = made.map_err(|error| format!("{}: {error}", archive(NAMES[0]).display()))?;
    let made = made.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let name = format!("agentkernel-native-images-{}-{made}", rustix::process::geteuid().as_raw());
    let private = |folder: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let mut folder = bed.join(&name);
    if private(&folder).is_err() {
        folder = std::env::temp_dir().join(&name);
        private(&folder).map_err(failed)?;
    }
    // One process imports, the others wait for it.
    let lock = std::fs::File::create(folder.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let store = image_store(&folder, settings);
    for name in NAMES {
        let image: ImageRef =
            format!("agentkernel-test/{name}:1").parse().map_err(|error| format!("{error}"))?;
        if store.find(&image).map_err(|error| error.to_string())?.is_some() {
            continue;
        }
        let source = ImportSource::Path(archive(name));
        let request =
            ImportRequest { source, names: Vec::new(), config: ImageConfig::default(), platform: None };
        store.import(request).map_err(|error| format!("{}: {error}", archive(name).display()))?;
    }
    Ok(folder)
}
