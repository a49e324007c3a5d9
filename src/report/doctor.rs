//! What `thinpool doctor` found, as text and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::row::printable;
use crate::doctor::{CHECKS, Diagnosis, Level, worst};

/// The findings for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub struct FindingsJson<'a> {
    worst: Level,
    findings: &'a [Diagnosis],
}

impl<'a> FindingsJson<'a> {
    /// Of these findings.
    #[must_use]
    pub fn new(findings: &'a [Diagnosis]) -> Self {
        Self { worst: worst(findings), findings }
    }
}

/// A line for each finding, the remedy below what needs one.
#[must_use]
pub fn findings_text(findings: &[Diagnosis]) -> String {
    let width = CHECKS.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Diagnosis { check, finding } in findings {
        let level = finding.level.as_str();
        let _ = writeln!(text, "{level:<7}  {check:<width$}  {}", printable(&finding.sentence));
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "{:<7}  {:<width$}    -> {}", "", "", printable(remedy));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Finding;

    #[test]
    fn a_remedy_stands_below_what_it_is_for_and_nothing_is_broken_over_lines() {
        let finding = |level, remedy: Option<&str>| Diagnosis {
            check: "lvm",
            finding: Finding { level, sentence: "a\nb".to_owned(), remedy: remedy.map(str::to_owned) },
        };
        let text = findings_text(&[finding(Level::Ok, None), finding(Level::Problem, Some("mend it"))]);
        assert_eq!(
            text,
            "ok       lvm         a?b\n\
             problem  lvm         a?b\n                       -> mend it\n"
        );
    }

    #[test]
    fn every_key_and_every_check_is_documented() {
        let docs = include_str!("../../docs/json.md");
        for key in [
            "worst",
            "findings",
            "findings[].check",
            "findings[].level",
            "findings[].sentence",
            "findings[].remedy",
        ] {
            assert!(docs.contains(&format!("| `{key}` |")), "{key}");
        }
        for check in &CHECKS {
            assert!(
                docs.contains(&format!("| `{}` | {} |", check.name, check.about)),
                "{}: {}",
                check.name,
                check.about
            );
        }
    }
}
