//! The metrics of real pools.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Bench, SMALL};

/// Every series with its value.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            (series, value.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
        })
        .collect()
}

#[test]
fn metrics_have_the_numbers_of_the_status_and_its_exit_code() {
    let bench = Bench::with_image("small");
    let (_, status) = bench.health();
    let said = bench.promptly(["status", "--prometheus"]);
    assert_eq!(said.code, 0, "{said:?}");
    let told = series(&said.out);
    let of = |name: &str, labels: &str| {
        let series = format!("thinpool_pool_{name}{{pool=\"{}\"{labels}}}", bench.name);
        *told.get(series.as_str()).unwrap_or_else(|| panic!("no {series} in {}", said.out))
    };
    for part in ["data", "metadata"] {
        for (name, key) in [("used", "used"), ("size", "total")] {
            let expected = status["kernel"][part][key].as_f64().expect("a number");
            assert!(expected > 0.0);
            assert!((of(&format!("{part}_{name}_bytes"), "") - expected).abs() < 0.5, "{part} {name}");
        }
    }
    assert!((of("mode", ",mode=\"read_write\"") - 1.0).abs() < 0.5);
    assert!((of("devices", ",kind=\"image\"") - 1.0).abs() < 0.5);

    bench.ok(["deactivate"]);
    let said = bench.promptly(["status", "--prometheus"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(!said.out.contains("thinpool_pool_data_used_bytes"), "{}", said.out);
    assert!(said.out.contains("state=\"inactive\"} 1"), "{}", said.out);
}

#[test]
fn one_file_has_the_metrics_of_all_pools_and_is_replaced_as_a_whole() {
    let bench = Bench::with_pool();
    let second = format!("{}-second", bench.name);
    let of_second: Vec<&str> = SMALL.into_iter().chain(["--pool", &second]).collect();
    let mut setup = std::process::Command::new(crate::support::thinpool());
    crate::support::ok(setup.arg("--root").arg(bench.root()).args(of_second));
    let file = bench.beside("thinpool.prom");
    std::fs::write(&file, "old").expect("written");
    let write = |file: &Path| {
        let file = file.to_str().expect("UTF-8").to_owned();
        bench.promptly(["status", "--prometheus", "--all", "--textfile", &file])
    };
    let said = write(&file);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    let text = std::fs::read_to_string(&file).expect("read");
    let told = series(&text);
    for pool in [&bench.name, &second] {
        let active = format!("thinpool_pool_state{{pool=\"{pool}\",state=\"active\"}}");
        assert_eq!(told.get(active.as_str()).map(|value| *value > 0.5), Some(true), "{text}");
    }
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o644);

    bench.ok(["deactivate"]);
    assert_eq!(write(&file).code, 3, "the worst pool's");
    let said = write(&bench.beside("none/thinpool.prom"));
    assert!(said.code == 1 && said.err.contains("there is no directory"), "{said:?}");
    assert_eq!(write(&bench.beside("thinpool.txt")).code, 2);
    assert_eq!(bench.run(["status", "--prometheus", "--json"]).code, 2);
    crate::support::ok(
        std::process::Command::new(crate::support::thinpool())
            .args(["--pool", &second, "--root"])
            .arg(bench.root())
            .args(["destroy", "--yes"]),
    );
}
