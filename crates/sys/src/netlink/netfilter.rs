//! What nftables holds at this moment (`linux/netfilter/nf_tables.h`): read only. Rules are written by
//! [`super::nftables`]; this tells in microseconds whether they are still there.

use super::message::{Attributes, Message};
use super::socket::{NetlinkError, Refusal, Socket};

/// Bytes of `struct nfgenmsg`.
const BODY: usize = 4;
/// NFPROTO_INET.
const FAMILY_INET: u8 = 1;
/// The nftables subsystem, in the upper byte of a message's type.
const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_GEN_ID: u16 = 1;

/// A chain that the kernel itself enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// NFPROTO_IPV4 (2), NFPROTO_IPV6 (10), NFPROTO_INET (1), ...
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// NF_INET_PRE_ROUTING (0), LOCAL_IN (1), FORWARD (2), LOCAL_OUT (3), POST_ROUTING (4).
    pub hook: u32,
    /// Whether a packet that no rule decides is dropped.
    pub drops: bool,
}

/// A number that changes with every change of this network namespace's rules, whoever makes it.
pub fn ruleset_generation(socket: &mut Socket) -> Result<u32, NetlinkError> {
    let mut generation = None;
    let request = request("read the ruleset's generation", libc::NFT_MSG_GETGEN, 0);
    socket.exchange(vec![request], |_, payload| {
        let attributes = Attributes::of(payload.get(BODY..).unwrap_or_default());
        generation = attributes.value(NFTA_GEN_ID).and_then(|v| Some(u32::from_be_bytes(v.try_into().ok()?)));
    })?;
    generation.ok_or(NetlinkError::Malformed { action: "read the ruleset's generation" })
}

/// What an `inet` table holds, as one opaque text of bytes: itself, its base chains and its rules. Two equal texts mean
/// that nobody has touched it in between. None when there is no such table.
pub fn table_content(socket: &mut Socket, table: &str) -> Result<Option<Vec<u8>>, NetlinkError> {
    let mut content = Vec::new();
    let find = request("find a table", libc::NFT_MSG_GETTABLE, FAMILY_INET).text(NFTA_TABLE_NAME, table);
    match socket
        .exchange(vec![find], |_, payload| content.extend_from_slice(payload.get(BODY..).unwrap_or_default()))
    {
        Ok(()) => {}
        Err(NetlinkError::Refused(Refusal { source: rustix::io::Errno::NOENT, .. })) => return Ok(None),
        Err(error) => return Err(error),
    }
    let chains = request("list chains", libc::NFT_MSG_GETCHAIN, FAMILY_INET);
    socket.dump(chains, |_, payload| {
        let body = payload.get(BODY..).unwrap_or_default();
        let attributes = Attributes::of(body);
        if attributes.text(NFTA_CHAIN_TABLE) == Some(table) {
            // Not the whole: it holds packet counters where the administrator has added some.
            for kind in [NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY] {
                content.extend_from_slice(attributes.value(kind).unwrap_or_default());
            }
        }
    })?;
    let rules = request("list rules", libc::NFT_MSG_GETRULE, FAMILY_INET).text(NFTA_RULE_TABLE, table);
    socket.dump(rules, |_, payload| {
        let body = payload.get(BODY..).unwrap_or_default();
        if Attributes::of(body).text(NFTA_RULE_TABLE) == Some(table) {
            content.extend_from_slice(body);
        }
    })?;
    Ok(Some(content))
}

/// The base chains of every family and table.
pub fn base_chains(socket: &mut Socket) -> Result<Vec<BaseChain>, NetlinkError> {
    let mut found = Vec::new();
    let request = request("list chains", libc::NFT_MSG_GETCHAIN, libc::AF_UNSPEC as u8);
    socket.dump(request, |_, payload| found.extend(parse_chain(payload)))?;
    Ok(found)
}

/// Whether a rule of that chain holds `text`, in its comment for example.
pub fn chain_mentions(socket: &mut Socket, chain: &BaseChain, text: &str) -> Result<bool, NetlinkError> {
    let mut found = false;
    let rules = request("list rules", libc::NFT_MSG_GETRULE, chain.family)
        .text(NFTA_RULE_TABLE, &chain.table)
        .text(NFTA_RULE_CHAIN, &chain.name);
    socket.dump(rules, |_, payload| {
        let body = payload.get(BODY..).unwrap_or_default();
        let attributes = Attributes::of(body);
        let same = attributes.text(NFTA_RULE_TABLE) == Some(&chain.table)
            && attributes.text(NFTA_RULE_CHAIN) == Some(&chain.name);
        found |= same && body.windows(text.len().max(1)).any(|window| window == text.as_bytes());
    })?;
    Ok(found)
}

fn parse_chain(payload: &[u8]) -> Option<BaseChain> {
    let attributes = Attributes::of(payload.get(BODY..)?);
    let number = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
    let hook = Attributes::of(attributes.value(NFTA_CHAIN_HOOK)?).value(NFTA_HOOK_HOOKNUM)?;
    let policy = attributes.value(NFTA_CHAIN_POLICY).and_then(number);
    Some(BaseChain {
        family: *payload.first()?,
        table: attributes.text(NFTA_CHAIN_TABLE)?.to_owned(),
        name: attributes.text(NFTA_CHAIN_NAME)?.to_owned(),
        hook: number(hook)?,
        drops: policy == Some(libc::NF_DROP as u32),
    })
}

fn request(label: &'static str, kind: libc::c_int, family: u8) -> Message {
    Message::new(label, SUBSYSTEM | kind as u16, 0).body(&[family, libc::NFNETLINK_V0 as u8, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Protocol;

    #[test]
    fn a_table_that_nobody_made_is_none() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: reading rules needs root");
            return;
        }
        let mut socket = Socket::open(Protocol::Netfilter).unwrap();
        assert_eq!(table_content(&mut socket, "no-such-table").unwrap(), None);
        ruleset_generation(&mut socket).unwrap();
        base_chains(&mut socket).unwrap();
    }
}
