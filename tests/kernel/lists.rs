//! Lists as people and scripts ask for them.

use crate::docs;
use crate::support::Bench;

#[test]
fn a_list_has_what_was_asked_for_in_the_form_that_was_asked_for() {
    let bench = Bench::with_image("image");
    for (name, label) in [("web1", "env=prod"), ("web2", "env=test"), ("db", "role")] {
        bench.ok(["container", "create", "image", "--name", name, "--label", label]);
    }
    bench.ok(["container", "mount", "web1"]);
    let chosen = |filters: &[&str]| {
        let mut arguments = vec!["container", "list", "--quiet"];
        arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        bench.ok(arguments).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[]), ["db", "web1", "web2"]);
    assert_eq!(chosen(&["label=env"]), ["web1", "web2"]);
    assert_eq!(chosen(&["label=env=prod"]), ["web1"]);
    assert_eq!(chosen(&["name=web*", "mounted=false"]), ["web2"]);
    assert_eq!(chosen(&["active=true"]), ["web1"]);
    assert_eq!(chosen(&["image=other"]), [""; 0]);
    let said =
        bench.ok(["ps", "--filter", "name=db", "--format", "{{.Names}}\\t{{.Size}}\\t{{json .Labels}}"]);
    assert_eq!(said, "db\t512 MiB\t{\"role\":\"\"}\n");
    let said = bench.ok(["container", "ls", "--columns", "name,labels", "-f", "mounted=true"]);
    assert_eq!(said, "NAME   LABELS\nweb1   env=prod\n");
    assert_eq!(bench.ok(["images", "--format", "{{.Repository}} {{.Containers}}"]), "image 3\n");
    assert_eq!(bench.ok(["image", "list", "--quiet", "--filter", "used=false"]), "");
    for wrong in [
        &["--filter", "colour=red"][..],
        &["--filter", "mounted=perhaps"],
        &["--format", "{{.Nome}}"],
        &["--format", "{{range .Mounts}}"],
        &["--columns", "nome"],
        &["--quiet", "--json"],
    ] {
        bench.fails(2, [&["container", "list"], wrong].concat());
    }
    for label in ["", "=x", "a b=c"] {
        let said =
            bench.fails(2, ["container", "create", "image", "--name", "bad", &format!("--label={label}")]);
        assert!(said.contains("can't be a label"), "{said}");
    }
    bench.ok(["container", "unmount", "web1"]);
}

#[test]
fn programs_find_everything_that_is_known_of_a_container_under_the_documented_keys() {
    let bench = Bench::with_image("image");
    bench.ok(["container", "create", "image", "--name", "one", "--label", "env=prod"]);
    let inspect = || -> Vec<serde_json::Value> {
        serde_json::from_str(&bench.ok(["container", "inspect", "one", "--json"])).unwrap()
    };
    let resting = inspect().remove(0);
    let documented = docs::documented("containers[].").into_iter().chain(docs::documented("inspected[]."));
    assert_eq!(docs::keys(&resting), documented.collect());
    assert_eq!(
        (&resting["open_count"], &resting["labels"]["env"]),
        (&serde_json::Value::Null, &"prod".into())
    );
    let at = bench.ok(["container", "mount", "one"]);
    let user = std::fs::File::open(std::path::Path::new(at.trim_end()).join("file")).unwrap();
    let mounted = inspect().remove(0);
    assert_eq!(docs::keys(&mounted), docs::keys(&resting));
    assert_eq!(mounted["mounts"][0]["at"], at.trim_end());
    let holder = &mounted["held_by"]["processes"][0];
    assert_eq!(
        (&holder["pid"], &holder["uses"][0]),
        (&std::process::id().into(), &"file".into()),
        "{holder}"
    );
    drop(user);
    assert!(bench.ok(["container", "inspect", "one"]).contains("Labels:       env=prod\n"));
    let node = bench.ok(["container", "inspect", "one", "--format", "{{.node}} {{.labels.env}}"]);
    assert_eq!(node, format!("/dev/mapper/{}-one prod\n", bench.name));
    bench.fails(4, ["container", "inspect", "nobody"]);
    bench.fails(2, ["container", "inspect", "one", "--format", "{{.nome}}"]);
    bench.ok(["container", "unmount", "one"]);
}
