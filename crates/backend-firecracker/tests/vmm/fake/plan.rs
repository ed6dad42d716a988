//! What goes wrong. A test writes it into the file that it gives a machine as its kernel.

use serde::{Deserialize, Serialize};

use super::saved::Saved;

/// The headers of a file and of one segment.
const KERNEL_HEAD: usize = 120;

/// All of it; by default everything goes well.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) version: Option<String>,
    /// Where, as `PUT /vsock` or `start`, and what.
    pub(crate) fault: Option<Fault>,
    #[serde(default)]
    pub(crate) guest: GuestPlan,
    #[serde(default)]
    pub(crate) vsock: VsockPlan,
    /// What the agent does on each connection; where there is nothing, it echoes.
    #[serde(default)]
    pub(crate) agent: Vec<Act>,
    /// How large a saved memory is, if it isn't small; none of it zeroes.
    pub(crate) memory_bytes: Option<u64>,
    /// The disk is full after so many bytes of a saved memory.
    pub(crate) room_bytes: Option<u64>,
}

/// One thing that an agent does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Act {
    Says(Vec<u8>),
    /// Again and again, until nobody listens.
    Floods(Vec<u8>),
    /// One part of a set-up: a length and bytes.
    Hears,
    /// Stays and says nothing.
    Stays,
    /// From here on it is an agent by the book, which writes what it is told into its machine's folder.
    Serves,
    /// The same, but only for who sets it up: whoever comes later hears nothing.
    FallsSilent,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) at: String,
    pub(crate) wrong: Wrong,
}

/// What can go wrong with a request, or with the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wrong {
    Refuse,
    /// Without a reason that can be read.
    RefuseBadly,
    Hang,
    Die,
    Garbage,
    /// An answer that is cut off.
    Cut,
    EndlessBody,
    EndlessHead,
    /// A good status and content of another kind.
    OtherContent,
}

/// What the guest does once it is started.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum GuestPlan {
    #[default]
    Knocks,
    KnocksTwice,
    Silent,
    Panics,
    Says(String),
    /// Fills its console, and knocks then.
    Floods,
    /// Says what process it is, and knocks.
    TellsOfItself,
}

/// What a connection to the guest gets.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) enum VsockPlan {
    /// Port 1024 echoes.
    #[default]
    Answers,
    Garbage,
    Endless,
    Hangs,
}

impl Plan {
    /// Of the room that this process works in.
    pub(crate) fn read() -> Self {
        let bytes = ["kernel", "restored.state"].iter().find_map(|name| std::fs::read(name).ok());
        let bytes = bytes.unwrap_or_default();
        if let Some(saved) = Saved::open(&bytes) {
            return saved.plan;
        }
        let plan = if bytes.starts_with(b"\x7fELF") { bytes.get(KERNEL_HEAD..) } else { Some(&bytes[..]) };
        plan.and_then(|plan| serde_json::from_slice(plan).ok()).unwrap_or_default()
    }

    /// As what passes for a kernel: an ELF file for this processor with one segment to load (elf(5)).
    pub(crate) fn kernel(&self) -> Vec<u8> {
        let plan = serde_json::to_vec(self).expect("a plan");
        let mut bytes = vec![0; KERNEL_HEAD];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        for (at, number) in [(18, 62u16), (54, 56), (56, 1)] {
            bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
        for (at, number) in [(32, 64u64), (64, 1), (72, KERNEL_HEAD as u64), (96, plan.len() as u64)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes.extend(plan);
        bytes
    }

    pub(crate) fn fault_at(&self, place: &str) -> Option<Wrong> {
        self.fault.as_ref().filter(|fault| fault.at == place).map(|fault| fault.wrong)
    }
}
