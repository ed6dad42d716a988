//! Our filter of system calls in the form that engines take (the OCI runtime specification's, which Docker extends). Made
//! from the same table as the native program. It allows exactly what the table allows; with which errno the rest is
//! refused is decided by the program, which the agent installs on top of it: of two refusals the newer one's counts
//! (seccomp(2)).

use agentkernel_sys::seccomp::{ArgumentTest, Filter, Outcome, Rule, RuleCase};
use serde::Serialize;

/// ENOSYS, for what the table doesn't know: programs then take another way.
const UNKNOWN_CALL: u32 = 38;

const ALLOW: &str = "SCMP_ACT_ALLOW";
const MASKED_EQUAL: &str = "SCMP_CMP_MASKED_EQ";

/// AF_NETLINK, SOCK_RAW and NETLINK_NETFILTER, as socket(2) has them: how the agent installs its network filter.
const NETFILTER_SOCKET: [u32; 3] = [16, 3, 12];
/// What of socket(2)'s type argument is the type.
const SOCKET_TYPE_MASK: u32 = 0xf;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: &'static str,
    default_errno_ret: u32,
    architectures: [&'static str; 1],
    syscalls: Vec<Call>,
}

#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
struct Call {
    names: Vec<&'static str>,
    action: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument>,
}

/// `value & mask` must be `wanted`. Docker names the mask `value` and what is wanted `valueTwo`.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    #[serde(rename = "value")]
    mask: u64,
    #[serde(rename = "valueTwo")]
    wanted: u64,
    op: &'static str,
}

/// The profile as JSON. With `netfilter` the agent may speak to netfilter; it takes that away again itself.
pub(crate) fn profile(filter: Filter, netfilter: bool) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Profile {
        default_action: "SCMP_ACT_ERRNO",
        default_errno_ret: UNKNOWN_CALL,
        architectures: [if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }],
        syscalls: calls(filter.rules(), netfilter),
    })
}

fn calls(rules: &[Rule], netfilter: bool) -> Vec<Call> {
    let is_plain = |rule: &&Rule| rule.cases.is_empty() && rule.otherwise == Outcome::Allow;
    let plain = rules.iter().filter(is_plain).map(|rule| rule.name).collect();
    let mut calls = vec![Call { names: plain, action: ALLOW, args: Vec::new() }];
    for rule in rules.iter().filter(|rule| !rule.cases.is_empty()) {
        calls.extend(allowed(rule).into_iter().map(|args| Call {
            names: vec![rule.name],
            action: ALLOW,
            args,
        }));
    }
    if netfilter {
        let [family, kind, protocol] = NETFILTER_SOCKET;
        let args = vec![
            argument(0, u32::MAX, family),
            argument(1, SOCKET_TYPE_MASK, kind),
            argument(2, u32::MAX, protocol),
        ];
        calls.push(Call { names: vec!["socket"], action: ALLOW, args });
    }
    calls
}

fn argument(index: u8, mask: u32, wanted: u32) -> Argument {
    Argument { index, mask: mask.into(), wanted: wanted.into(), op: MASKED_EQUAL }
}

/// Every combination of arguments that is allowed. An engine knows no order among rules, so each must hold by itself.
fn allowed(rule: &Rule) -> Vec<Vec<Argument>> {
    match rule.otherwise {
        // All but what some case refuses: the table's cases are then of one test each.
        Outcome::Allow => match rule.cases {
            [RuleCase { tests: [test], outcome: Outcome::Errno(_) }] => {
                let others = others(test.mask, test.values);
                others.into_iter().map(|(mask, wanted)| vec![argument(test.index, mask, wanted)]).collect()
            }
            // Refused as a whole rather than allowed by mistake; the test of agreement would tell.
            _ => Vec::new(),
        },
        // What an allowing case allows is not taken back by an earlier one: the test of agreement holds the table to it.
        Outcome::Errno(_) => {
            let allowing = rule.cases.iter().filter(|case| case.outcome == Outcome::Allow);
            allowing.flat_map(|case| combinations(case.tests)).collect()
        }
    }
}

fn combinations(tests: &[ArgumentTest]) -> Vec<Vec<Argument>> {
    tests.iter().fold(vec![Vec::new()], |known, test| {
        let with = |begun: &Vec<Argument>| {
            let begun = begun.clone();
            test.values.iter().map(move |value| {
                let mut all = begun.clone();
                all.push(argument(test.index, test.mask, *value));
                all
            })
        };
        known.iter().flat_map(with).collect()
    })
}

/// All words that, masked, are none of `values`, as masks and what they must give: a walk through the bits that leaves
/// the way to each value where it can.
fn others(mask: u32, values: &[u32]) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    // What is decided so far, and the values that still fit.
    let mut open = vec![(0_u32, 0_u32, values.to_vec())];
    while let Some((decided, prefix, values)) = open.pop() {
        let left = mask & !decided;
        if values.is_empty() {
            found.push((decided, prefix));
        } else if left != 0 {
            let bit = 1 << (31 - left.leading_zeros());
            for set in [0, bit] {
                let fitting = values.iter().copied().filter(|value| value & bit == set).collect();
                open.push((decided | bit, prefix | set, fitting));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the program says to one call: an interpreter of the few instructions that it is made of.
    fn program_allows(filter: Filter, number: u32, arguments: [u32; 6]) -> bool {
        let architecture: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
        let load = |offset: u32| match offset {
            0 => number,
            4 => architecture,
            offset => arguments[(offset as usize - 16) / 8],
        };
        let (mut place, mut word) = (0, 0);
        loop {
            let it = &filter.program()[place];
            place += 1;
            let jump = |holds: bool| usize::from(if holds { it.jt } else { it.jf });
            match it.code {
                0x20 => word = load(it.k),
                0x54 => word &= it.k,
                0x05 => place += it.k as usize,
                0x15 => place += jump(word == it.k),
                0x35 => place += jump(word >= it.k),
                0x06 => return it.k == 0x7fff_0000,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn profile_allows(calls: &[Call], name: &str, arguments: [u32; 6]) -> bool {
        let fits = |it: &Argument| u64::from(arguments[usize::from(it.index)]) & it.mask == it.wanted;
        calls.iter().any(|call| call.names.contains(&name) && call.args.iter().all(fits))
    }

    /// Values of one argument at which a decision may change.
    fn interesting(rule: &Rule, index: u8) -> Vec<u32> {
        let tests = rule.cases.iter().flat_map(|case| case.tests).filter(|test| test.index == index);
        let mut values: Vec<u32> = tests
            .flat_map(|test| {
                test.values
                    .iter()
                    .flat_map(|value| [*value, value | !test.mask, value ^ 1, value.wrapping_add(1)])
            })
            .collect();
        values.extend([0, 1, u32::MAX, 0x8000_0000]);
        values
    }

    #[test]
    fn profile_and_program_agree_on_every_call() {
        for filter in [Filter::Standard, Filter::Restrictive] {
            let calls = calls(filter.rules(), false);
            let mut looked_at = 0;
            for rule in filter.rules() {
                for first in interesting(rule, 0) {
                    for second in interesting(rule, 1) {
                        for third in interesting(rule, 2) {
                            let arguments = [first, second, third, 0, 0, 0];
                            let program = program_allows(filter, rule.number, arguments);
                            let profile = profile_allows(&calls, rule.name, arguments);
                            assert_eq!(profile, program, "{filter:?} {} {arguments:x?}", rule.name);
                            looked_at += 1;
                        }
                    }
                }
            }
            assert!(looked_at > 10_000);
            assert!(!program_allows(filter, 5000, [0; 6]), "what has no row is refused");
        }
    }

    #[test]
    fn netfilter_is_all_that_a_network_adds() {
        let [with, without] = [true, false].map(|it| calls(Filter::Restrictive.rules(), it));
        assert_eq!(with.len(), without.len() + 1);
        for protocol in 0..32 {
            let arguments = [16, 0x80003, protocol, 0, 0, 0];
            assert_eq!(profile_allows(&with, "socket", arguments), protocol == 12, "{protocol}");
        }
    }

    #[test]
    fn the_form_is_the_engines() {
        let text = profile(Filter::Standard, true).unwrap();
        assert!(text.starts_with(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_"#
        ));
        let clone = r#"{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}"#;
        assert!(text.contains(clone), "{text}");
    }

    proptest! {
        #[test]
        fn others_are_all_but_the_values(values in proptest::collection::vec(0u32..64, 1..5), word in 0u32..128) {
            let found = others(0x3f, &values);
            let fits = found.iter().filter(|(mask, wanted)| word & mask == *wanted).count();
            prop_assert_eq!(fits, usize::from(!values.contains(&(word & 0x3f))));
        }
    }
}
