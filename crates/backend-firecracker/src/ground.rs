//! What a machine's snapshot stands on: it is restored by the same VMM, on the same processor and host kernel, or not at all.

use std::io;

use serde::{Deserialize, Serialize};

/// What changes from one moment to the next, or from one core of a processor to another.
const PASSING: [&str; 11] = [
    "processor",
    "cpu MHz",
    "bogomips",
    "BogoMIPS",
    "physical id",
    "siblings",
    "core id",
    "cpu cores",
    "apicid",
    "initial apicid",
    "microcode",
];

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Ground {
    /// The VMM: its version, or the program itself.
    pub(crate) vmm: String,
    /// Model and abilities of the processor.
    pub(crate) processor: String,
    /// Release and build of the host's kernel, whose KVM a guest's state is of.
    pub(crate) host_kernel: String,
}

impl Ground {
    /// Of this machine, with `vmm`.
    pub(crate) fn here(vmm: String) -> io::Result<Self> {
        let name = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Ok(Self {
            vmm,
            processor: processor(&std::fs::read_to_string("/proc/cpuinfo")?),
            host_kernel: format!("{} {}", text(name.release()), text(name.version())),
        })
    }

    /// How `here` differs from what a snapshot was taken on, if it does.
    pub(crate) fn difference(&self, here: &Self) -> Option<String> {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        if self.vmm != here.vmm {
            return Some(format!("it was taken by {}, and here is {}", self.vmm, here.vmm));
        }
        if self.processor != here.processor {
            return Some(format!(
                "it was taken on another processor ({}; here is {})",
                first(&self.processor),
                first(&here.processor)
            ));
        }
        (self.host_kernel != here.host_kernel).then(|| {
            format!("it was taken under the kernel {}, and here is {}", self.host_kernel, here.host_kernel)
        })
    }
}

/// The first processor of /proc/cpuinfo (proc_cpuinfo(5)), its model first, without what passes.
fn processor(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    let mut lines: Vec<String> = first
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(name, _)| !PASSING.contains(name))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.sort_by_key(|line| !line.starts_with("model name"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_facts_are_left_out_and_the_model_comes_first() {
        let text = "processor\t: 0\nvendor_id\t: V\nmodel name\t: M 7\ncpu MHz\t\t: 1.5\nflags\t\t: a b\n\nprocessor\t: 1\n";
        assert_eq!(processor(text), "model name: M 7\nvendor_id: V\nflags: a b");
    }

    #[test]
    fn each_difference_is_named() {
        let here = Ground::here("firecracker 1.17.0".to_owned()).unwrap();
        assert!(!here.processor.is_empty() && !here.host_kernel.is_empty());
        assert_eq!(here.difference(&here), None);
        for (other, word) in [
            (Ground { vmm: "firecracker 1.12.0".to_owned(), ..here.clone() }, "1.12.0"),
            (Ground { processor: "model name: Z80".to_owned(), ..here.clone() }, "Z80"),
            (Ground { host_kernel: "2.4.1".to_owned(), ..here.clone() }, "2.4.1"),
        ] {
            assert!(other.difference(&here).unwrap().contains(word));
        }
    }
}
