//! Compiles `syscalls.txt` to classic BPF: a balanced search over ranges of system call numbers, so that a call costs
//! about eight comparisons and not one per row.
//!
//! Used by the build script, and by tests. It must not allocate ranges for what is not in the table: those get ENOSYS.

use super::checks::{self, ENOSYS, EPERM};

/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h.
const AUDIT_ARCH: [u32; 2] = [0xc000_003e, 0xc000_00b7];
/// Calls of the x32 interface carry this bit in their number (`__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;

// Offsets in struct seccomp_data. Both architectures are little-endian: the low half of an argument comes first.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

// linux/bpf_common.h: class | size or operation | mode or source.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

// linux/seccomp.h.
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_KILL_PROCESS: u32 = 0x8000_0000;

/// One instruction: struct sock_filter of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jt: u8,
    pub(super) jf: u8,
    pub(super) k: u32,
}

/// The machine that a filter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

/// A row's last columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Standard,
    Restrictive,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Errno(u16),
}

/// Whether an argument's low half, masked, is one of `values`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) index: u8,
    pub(super) mask: u32,
    pub(super) values: &'static [u32],
}

/// An action for calls that pass all tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) tests: Vec<Test>,
    pub(super) action: Action,
}

/// The first case that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) cases: Vec<Case>,
    pub(super) otherwise: Action,
}

/// Why a table can't be compiled; the line counts from one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TableError {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

/// The calls from `first` up to the next range's first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) check: Check,
}

impl From<Action> for Check {
    fn from(action: Action) -> Self {
        Self { cases: Vec::new(), otherwise: action }
    }
}

/// The whole filter for one machine and column.
pub(super) fn compile(table: &str, machine: Machine, column: Column) -> Result<Vec<Instruction>, TableError> {
    let mut program = vec![
        load(OFFSET_ARCH),
        // A foreign system call interface (i386, 32-bit ARM) has other numbers: no call of it can be judged. There is no
        // honest way to answer it, so the process ends with SIGSYS.
        jump(JUMP_IF_EQUAL, AUDIT_ARCH[machine as usize], 1, 0),
        ret(RET_KILL_PROCESS),
        load(OFFSET_NUMBER),
    ];
    program.extend(search(&ranges(table, machine, column)?));
    Ok(program)
}

/// A call of the table on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) number: u32,
    pub(super) check: Check,
}

/// All 2^32 numbers as ranges in ascending order, neighbours always different.
pub(super) fn ranges(table: &str, machine: Machine, column: Column) -> Result<Vec<Range>, TableError> {
    let mut rows = rows(table, machine, column)?;
    rows.sort_by_key(|row| row.number);
    let mut ranges: Vec<Range> = Vec::new();
    let mut push = |first: u32, check: Check| {
        if ranges.last().is_none_or(|last| last.check != check) {
            ranges.push(Range { first, check });
        }
    };
    let mut next = 0;
    for Row { number, check, .. } in rows {
        if number > next {
            push(next, Action::Errno(ENOSYS).into());
        }
        push(number, check);
        next = number + 1;
    }
    push(next, Action::Errno(ENOSYS).into());
    Ok(ranges)
}

/// The rows that exist on `machine`.
pub(super) fn rows(table: &str, machine: Machine, column: Column) -> Result<Vec<Row<'_>>, TableError> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut names = Vec::new();
    for (index, line) in table.lines().enumerate() {
        let error = |what| TableError { line: index + 1, what };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, x86_64, aarch64, standard, restrictive] = fields[..] else {
            return Err(error("a row has five columns"));
        };
        if names.contains(&name) {
            return Err(error("the call has a row already"));
        }
        names.push(name);
        let number = match machine {
            Machine::X86_64 => x86_64,
            Machine::Aarch64 => aarch64,
        };
        if number == "-" {
            continue;
        }
        let number = number.parse().map_err(|_| error("not a system call number"))?;
        if number >= X32_BIT || rows.iter().any(|other| other.number == number) {
            return Err(error("the number is out of range or has a row already"));
        }
        let decision = match (column, restrictive) {
            (Column::Standard, _) | (Column::Restrictive, "=") => standard,
            (Column::Restrictive, own) => own,
        };
        let check = match decision {
            "allow" => Action::Allow.into(),
            "EPERM" => Action::Errno(EPERM).into(),
            "ENOSYS" => Action::Errno(ENOSYS).into(),
            name => checks::find(name).ok_or_else(|| error("neither an action nor a check"))?,
        };
        rows.push(Row { name, number, check });
    }
    Ok(rows)
}

/// Expects the number in the accumulator.
fn search(ranges: &[Range]) -> Vec<Instruction> {
    if let [only] = ranges {
        return leaf(&only.check);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (middle, lower, upper) = (upper[0].first, search(lower), search(upper));
    let mut program = match u8::try_from(lower.len()) {
        Ok(distance) => vec![jump(JUMP_IF_GREATER_OR_EQUAL, middle, distance, 0)],
        // A conditional jump reaches 255 instructions, an unconditional one any number.
        Err(_) => {
            vec![jump(JUMP_IF_GREATER_OR_EQUAL, middle, 0, 1), jump(JUMP, lower.len() as u32, 0, 0)]
        }
    };
    program.extend(lower);
    program.extend(upper);
    program
}

/// Ends in a return on every path.
fn leaf(check: &Check) -> Vec<Instruction> {
    let mut program: Vec<Instruction> = check.cases.iter().flat_map(case).collect();
    program.push(ret(value(check.otherwise)));
    program
}

/// Falls out at its end where it doesn't fit. Built from the back, since each test jumps over what follows it.
fn case(case: &Case) -> Vec<Instruction> {
    let mut program = vec![ret(value(case.action))];
    for test in case.tests.iter().rev() {
        let miss = program.len() as u8;
        let count = test.values.len() as u8;
        let mut block = vec![load(OFFSET_ARGUMENTS + 8 * u32::from(test.index))];
        if test.mask != u32::MAX {
            block.push(Instruction { code: AND, jt: 0, jf: 0, k: test.mask });
        }
        for (position, wanted) in (0..count).zip(test.values) {
            let remaining = count - 1 - position;
            let miss = if remaining == 0 { miss } else { 0 };
            block.push(jump(JUMP_IF_EQUAL, *wanted, remaining, miss));
        }
        block.extend(program);
        program = block;
    }
    program
}

fn value(action: Action) -> u32 {
    match action {
        Action::Allow => RET_ALLOW,
        Action::Errno(errno) => RET_ERRNO | u32::from(errno),
    }
}

fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD_WORD, jt: 0, jf: 0, k: offset }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn ret(k: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k }
}
