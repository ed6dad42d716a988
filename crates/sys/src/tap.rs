//! TAP devices: a network interface whose other end is a program, by which a virtual machine is on the network of its
//! namespace (the kernel's networking/tuntap.rst).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Where they come from.
pub const DEVICE: &str = "/dev/net/tun";

/// IFNAMSIZ, less the NUL.
const LONGEST_NAME: usize = 15;

/// Frames as virtual machine monitors want them: whole, without a word of the kernel's before them, but with the header
/// by which they leave checksums and segments to the other side.
const FRAMES: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

/// Why there can be no TAP device; `None` where there can. Opens the device and makes nothing.
pub fn problem() -> Option<io::Error> {
    open().err()
}

/// A TAP device that is held open: whoever holds it reads what the namespace sends there, each frame after a header of ten
/// bytes (struct virtio_net_hdr), and writes what shall arrive from there. Gone when it is dropped, unless left to a user.
#[derive(Debug)]
pub struct Tap(File);

impl Tap {
    /// Makes one in the network namespace of the calling thread. Needs CAP_NET_ADMIN there.
    ///
    /// # Errors
    /// EBUSY where the name is taken; others of open(2) and of the kernel's.
    pub fn make(name: &str) -> io::Result<Self> {
        Self::with_flags(name, FRAMES | libc::IFF_TUN_EXCL)
    }

    /// Takes one that was left to a user and that nobody holds open.
    ///
    /// # Errors
    /// EPERM where it was left to another; EBUSY where somebody has it; without rights also where there is none.
    pub fn take(name: &str) -> io::Result<Self> {
        Self::with_flags(name, FRAMES)
    }

    fn with_flags(name: &str, flags: libc::c_int) -> io::Result<Self> {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(['\0', '/', '%']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an interface's name"));
        }
        let file = open()?;
        #[expect(unsafe_code, reason = "a plain structure of numbers")]
        // SAFETY: all zeros is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *slot = byte as libc::c_char;
        }
        // The flags are 16 bits, which IFF_TUN_EXCL is the highest of.
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        #[expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]
        // SAFETY: the request is a whole ifreq with a NUL-terminated name and outlives the call.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        answer(made)?;
        Ok(Self(file))
    }

    /// Lets it stay as long as its namespace, for this user of the host alone to take.
    ///
    /// # Errors
    /// Those of the kernel's; nothing of it stays then.
    pub fn leave_to(self, user: u32) -> io::Result<()> {
        let user = libc::c_ulong::from(user);
        self.set(libc::TUNSETOWNER, user)?;
        self.set(libc::TUNSETPERSIST, 1)
    }

    fn set(&self, request: libc::Ioctl, value: libc::c_ulong) -> io::Result<()> {
        #[expect(unsafe_code, reason = "the ioctls of a TAP device have no safe wrapper")]
        // SAFETY: both requests take a number and no pointer.
        answer(unsafe { libc::ioctl(self.0.as_raw_fd(), request, value) })
    }

    /// For reading and writing frames.
    pub fn frames(&self) -> &File {
        &self.0
    }
}

fn answer(value: libc::c_int) -> io::Result<()> {
    if value == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(Path::new(DEVICE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> String {
        std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()
    }

    fn in_new_namespace(work: impl FnOnce() + Send) {
        if !rustix::process::geteuid().is_root() || problem().is_some() {
            println!("SKIPPED: a TAP device needs root and {DEVICE}");
            return;
        }
        crate::netlink::new_network_namespace(|_| work()).unwrap();
    }

    #[test]
    fn a_device_goes_with_its_handle_and_stays_where_it_was_left_to_a_user() {
        in_new_namespace(|| {
            let tap = Tap::make("tap0").unwrap();
            assert!(interfaces().contains("tap0:"));
            assert_eq!(Tap::make("tap0").unwrap_err().raw_os_error(), Some(libc::EBUSY));
            drop(tap);
            assert!(!interfaces().contains("tap0:"));
            Tap::make("tap0").unwrap().leave_to(7).unwrap();
            assert!(interfaces().contains("tap0:"));
            let held = Tap::take("tap0").unwrap();
            assert_eq!(Tap::take("tap0").unwrap_err().raw_os_error(), Some(libc::EBUSY));
            drop(held);
            assert!(interfaces().contains("tap0:"));
        });
    }

    #[test]
    fn a_device_that_was_left_to_a_user_is_nobody_else_s() {
        in_new_namespace(|| {
            Tap::make("tap0").unwrap().leave_to(7).unwrap();
            let none = rustix::thread::CapabilitySet::empty();
            let none = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, none).unwrap();
            assert_eq!(Tap::take("tap0").unwrap_err().raw_os_error(), Some(libc::EPERM));
        });
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "sixteen-letters-", "a/b", "tap%d", "a\0b"] {
            assert_eq!(Tap::make(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
