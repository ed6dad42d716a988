//! Why rules are not in force.

use rustix::io::Errno;

use super::attribute::{CHAIN_TYPE, EXPRESSION_NAME, LIST_ELEMENT};
use crate::netlink::{Attributes, NetlinkError};

/// Why a batch has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum RulesetError {
    /// This kernel can't do that, or may not load the module that can.
    #[error(
        "the kernel lacks {part} of nftables, needed to {change}: load its module (`modprobe {module}`), or use a \
         kernel that has it"
    )]
    Missing {
        /// What is missing: ``the expression `fib` ``.
        part: String,
        /// The module that brings it.
        module: &'static str,
        /// What was asked.
        change: String,
        /// errno.
        source: Errno,
    },
    /// The kernel refused a change; nothing of the batch is in force.
    #[error("the kernel refused to {change}")]
    Refused {
        /// What was asked, with the rule's text.
        change: String,
        /// errno.
        source: Errno,
    },
    /// The kernel could not be asked.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl RulesetError {
    /// From the kernel's answer about `message`, which asked for `change`, or about the whole batch (None). `offset`
    /// points to the attribute that the kernel objected to, where it told.
    pub(super) fn refused(source: Errno, refused: Option<(&[u8], &str)>, offset: Option<usize>) -> Self {
        let Some((message, change)) = refused else {
            let change = "change its rules".to_owned();
            return match source {
                Errno::OPNOTSUPP => {
                    Self::Missing { part: "all".to_owned(), module: "nf_tables", change, source }
                }
                _ => Self::Refused { change, source },
            };
        };
        let change = change.to_owned();
        let unknown = matches!(source, Errno::NOENT | Errno::OPNOTSUPP | Errno::AFNOSUPPORT);
        match unknown.then(|| missing(message, offset)).flatten() {
            Some((part, module)) => Self::Missing { part, module, change, source },
            None => Self::Refused { change, source },
        }
    }
}

/// What the kernel did not know in `message`, and its module.
fn missing(message: &[u8], offset: Option<usize>) -> Option<(String, &'static str)> {
    // The lower byte; the upper one names the subsystem.
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?) & 0xff;
    let kind = libc::c_int::from(kind);
    let objected = offset.and_then(|offset| Attributes::of(message.get(offset..)?).next());
    match (kind, objected) {
        (libc::NFT_MSG_NEWTABLE, _) => Some(("tables of the family inet".to_owned(), "nf_tables_inet")),
        (libc::NFT_MSG_NEWSET, _) => Some(("sets of ranges".to_owned(), "nf_tables_set")),
        (libc::NFT_MSG_NEWCHAIN, Some((CHAIN_TYPE, _))) => {
            Some(("chains that translate addresses".to_owned(), "nft_chain_nat"))
        }
        (libc::NFT_MSG_NEWRULE, Some((LIST_ELEMENT, element))) => {
            let name = Attributes::of(element).text(EXPRESSION_NAME)?;
            let module = match name {
                "ct" => "nft_ct",
                "fib" => "nft_fib_inet",
                "nat" => "nft_nat",
                "masq" => "nft_masq",
                "reject" => "nft_reject_inet",
                _ => "nf_tables",
            };
            Some((format!("the expression `{name}`"), module))
        }
        _ => None,
    }
}
