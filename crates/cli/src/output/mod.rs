//! What people and scripts see: tables, JSON, errors, hints, exit codes.

mod age;
mod exit;
mod failure;
mod hint;
mod print;
mod style;
mod table;

pub(crate) use age::{age_of, short_duration};
pub(crate) use exit::{exit_code, kind};
pub(crate) use failure::{CliError, describe, report, report_usage};
pub(crate) use hint::{Attempt, hint};
pub(crate) use print::{print_json, print_text, warn_line};
pub(crate) use style::{Colour, Style};
pub(crate) use table::Table;
