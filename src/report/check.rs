//! What `thinpool check` found and `thinpool repair` did, as text and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::outlook_text;
use super::row::printable;
use crate::pool::check::{Finding, Remedy};
use crate::pool::{Generation, MadeOf, Renewed, Repaired};

/// The findings for programs; `docs/json.md` explains the keys.
#[derive(Debug, Serialize)]
pub struct CheckJson<'a> {
    clean: bool,
    found: &'a [Finding],
    repaired: &'a [Finding],
    failed: Vec<Failed<'a>>,
    renewed_metadata: Option<RenewedJson<'a>>,
}

#[derive(Debug, Serialize)]
struct RenewedJson<'a> {
    made_of_backup: Option<Generation>,
    kept: String,
    lost: &'a [String],
    shrunk: &'a [String],
}

impl<'a> From<&'a Renewed> for RenewedJson<'a> {
    fn from(renewed: &'a Renewed) -> Self {
        let made_of_backup = match renewed.made_of {
            MadeOf::TheDamaged => None,
            MadeOf::Backup(generation) => Some(generation),
        };
        let (lost, shrunk) = (&renewed.outlook.lost, &renewed.outlook.shrunk);
        Self { made_of_backup, kept: renewed.kept.to_string(), lost, shrunk }
    }
}

#[derive(Debug, Serialize)]
struct Failed<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    error: String,
}

impl<'a> CheckJson<'a> {
    /// Of a check.
    #[must_use]
    pub fn found(findings: &'a [Finding]) -> Self {
        let (failed, renewed_metadata) = (Vec::new(), None);
        Self { clean: is_clean(findings), found: findings, repaired: &[], failed, renewed_metadata }
    }

    /// Of a repair.
    #[must_use]
    pub fn repaired(repaired: &'a Repaired) -> Self {
        let failed = repaired.failed.iter();
        let failed = failed.map(|(finding, error)| Failed { finding, error: error.to_string() }).collect();
        Self {
            clean: is_clean(&repaired.left),
            found: &repaired.left,
            repaired: &repaired.done,
            failed,
            renewed_metadata: repaired.renewed.as_ref().map(RenewedJson::from),
        }
    }
}

fn is_clean(findings: &[Finding]) -> bool {
    !findings.iter().any(Finding::counts)
}

/// A line for each finding, and below it what a repair does or a person has to.
#[must_use]
pub fn found_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Catalog, pool and host agree.\n".to_owned();
    }
    let mut text = String::new();
    for finding in findings {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{:<8}  {}", finding.severity.as_str(), printable(&finding.sentence));
        let remedy = match &finding.remedy {
            Remedy::Nothing => continue,
            Remedy::Repair(repair) => format!("repair would {repair}"),
            Remedy::ByHand(hint) => format!("by hand: {hint}"),
        };
        let _ = writeln!(text, "{:<8}    -> {}", "", printable(&remedy));
    }
    text
}

/// What was done, what could not be, and what is left.
#[must_use]
pub fn repaired_text(repaired: &Repaired) -> String {
    let mut text = String::new();
    for finding in &repaired.done {
        let _ = writeln!(text, "{:<8}  {}", "Repaired", printable(&finding.sentence));
    }
    for (finding, error) in &repaired.failed {
        let _ = writeln!(text, "{:<8}  {}", "Failed", printable(&finding.sentence));
        let _ = writeln!(text, "{:<8}    -> {}", "", printable(&error.to_string()));
    }
    if let Some(renewed) = &repaired.renewed {
        let _ = writeln!(text, "The new metadata was made of {}. {}", renewed.made_of, renewed.kept);
        text += &outlook_text(&renewed.outlook);
    }
    text + &found_text(&repaired.left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::check::KINDS;
    use crate::pool::status::Severity;

    fn finding(remedy: Remedy) -> Finding {
        Finding { kind: "node_stray", severity: Severity::Warning, sentence: "a\nb".to_owned(), remedy }
    }

    #[test]
    fn what_can_be_done_stands_below_what_it_is_for_and_nothing_is_broken_over_lines() {
        let by_hand = Remedy::ByHand("do it".to_owned());
        assert_eq!(found_text(&[finding(by_hand)]), "Warning   a?b\n            -> by hand: do it\n");
        assert_eq!(found_text(&[]), "Catalog, pool and host agree.\n");
    }

    #[test]
    fn every_key_and_every_kind_of_finding_is_documented() {
        let docs = include_str!("../../docs/json.md");
        let found = [finding(Remedy::Nothing)];
        let json = serde_json::to_value(CheckJson::found(&found)).expect("JSON");
        let keys = json.as_object().expect("an object").keys().map(String::clone);
        let of_a_finding = json["found"][0].as_object().expect("an object").keys();
        for key in keys.chain(of_a_finding.map(|key| format!("found[].{key}"))) {
            assert!(docs.contains(&format!("| `{key}` |")), "{key}");
        }
        for (kind, means) in KINDS {
            assert!(docs.contains(&format!("| `{kind}` | {means} |")), "{kind}: {means}");
        }
    }
}
