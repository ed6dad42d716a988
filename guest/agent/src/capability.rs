//! Capabilities: commands and workers keep a given set and can't get more by any exec.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// What workers need to put files in place for the host whatever commands may do.
pub(crate) const WORKER: u64 = CapabilitySet::CHOWN.bits()
    | CapabilitySet::DAC_OVERRIDE.bits()
    | CapabilitySet::FOWNER.bits()
    | CapabilitySet::FSETID.bits();

/// Takes everything that isn't in `keep` out of the bounding set, so that no exec can bring it back. Allocates nothing.
pub(crate) fn drop_bounding(keep: u64) -> Result<(), Errno> {
    for number in 0..64 {
        let single = CapabilitySet::from_bits_retain(1 << number);
        if keep & single.bits() != 0 {
            continue;
        }
        match capability_is_in_bounding_set(single) {
            Ok(true) => remove_capability_from_bounding_set(single)?,
            Ok(false) => {}
            // The kernel's last capability is behind us.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes everything that isn't in `keep` out of the process's own sets. Allocates nothing.
pub(crate) fn drop_held(keep: u64) -> Result<(), Errno> {
    match clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let held = capabilities(None)?;
    let keep = CapabilitySet::from_bits_retain(keep) & held.permitted;
    set_capabilities(
        None,
        CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() },
    )
}
