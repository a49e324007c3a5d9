//! Setup, activate, deactivate, destroy.

use crate::support::Bench;

#[test]
fn a_pool_comes_and_goes_without_leaving_anything() {
    let bench = Bench::with_pool();
    assert_eq!(bench.devices(), [format!("{}-pool", bench.name)]);
    assert_eq!(bench.attached().len(), 2);
    bench.ok(["destroy", "--yes"]);
    assert_eq!((bench.devices(), bench.attached()), (vec![], vec![]));
    assert!(!bench.state().exists());
}
