//! LVM: whether it activates the volumes that pools lie on, and leaves alone what guests keep in containers.

use std::collections::BTreeMap;

use ::lvm::{Lv, LvHealth};

use super::machine::ask;
use super::{Finding, Machine};
use crate::backing::Backing;
use crate::backing::block::Identity;
use crate::catalog::{Catalog, CatalogError};

/// How the tags of our volumes begin.
const OUR_TAGS: &str = "thinpool.";

/// What is asked of `lvm.conf`: lvm.conf(5).
const DEVICES_FILE: &str = "use_devicesfile";
const FILTER: &str = "filter";
const GLOBAL_FILTER: &str = "global_filter";
const VOLUME_LIST: &str = "volume_list";
const AUTOACTIVATED: &str = "auto_activation_volume_list";
const ASKED: [&str; 5] = [
    "devices/use_devicesfile",
    "devices/filter",
    "devices/global_filter",
    "activation/volume_list",
    "activation/auto_activation_volume_list",
];

/// The filter that lets LVM look at everything: the default.
const EVERYTHING: &str = "a|.*|";

pub(super) fn all(machine: &Machine) -> Vec<Finding> {
    let Some(path) = machine.find("lvm") else {
        return vec![Finding::ok("LVM is not installed, so it takes nothing")];
    };
    let arguments: Vec<&str> = ["lvmconfig", "--typeconfig", "full"].into_iter().chain(ASKED).collect();
    let config = match ask(&path, &arguments) {
        Ok(text) => Config::read(&text),
        Err(error) => return vec![machine.refused("LVM's configuration", &error)],
    };
    let mut findings = vec![guests(machine, &config)];
    let members = members(machine).unwrap_or_else(|error| {
        findings.push(machine.refused("what pools lie on", &error.to_string()));
        Vec::new()
    });
    match (machine.volumes)() {
        Ok(volumes) => {
            let ours = volumes.iter().filter(|volume| is_ours(volume, &members));
            findings.extend(ours.map(|volume| of_volume(volume, &config)));
        }
        Err(error) => findings.push(machine.refused("LVM's volumes", &error.to_string())),
    }
    findings
}

/// The block devices that pools lie on.
fn members(machine: &Machine) -> Result<Vec<Identity>, CatalogError> {
    let mut members = Vec::new();
    for name in machine.pool_names().unwrap_or_default() {
        let Some(catalog) = Catalog::open(&machine.pools.root.join(name).join("catalog.db"))? else {
            continue;
        };
        let backing = catalog.pool()?.map(|record| record.backing);
        members.extend(backing.iter().flat_map(Backing::members).map(|(_, member)| member.identity.clone()));
    }
    Ok(members)
}

/// Made for a pool, or given to one.
fn is_ours(volume: &Lv, members: &[Identity]) -> bool {
    let uuid = format!("{}{}", volume.vg_uuid, volume.uuid).replace('-', "");
    volume.tags.iter().any(|tag| tag.as_str().starts_with(OUR_TAGS))
        || members.contains(&Identity::DmUuid(format!("LVM-{uuid}")))
}

/// A container that a virtual machine has for its disk may have a physical volume in it. It is a device of the host's
/// as any other, and udev's rules hand it to LVM, which makes a volume group of it and activates that.
fn guests(machine: &Machine, config: &Config) -> Finding {
    if config.is(DEVICES_FILE, "1") {
        return Finding::ok("LVM looks only at what is in its devices file");
    }
    if [FILTER, GLOBAL_FILTER].iter().any(|filter| !config.is(filter, EVERYTHING)) {
        return Finding::ok("LVM's filter is set");
    }
    let names = machine.pool_names().unwrap_or_default();
    let names = if names.is_empty() { "thinpool".to_owned() } else { Vec::from_iter(names).join("|") };
    let pattern = if names.contains('|') { format!("({names})") } else { names };
    Finding::note(
        "LVM looks at containers, too: it would activate the volume group of a guest that uses LVM in one",
    )
    .with_remedy(format!(
        "in /etc/lvm/lvm.conf: devices {{ global_filter = [ \"r#^/dev/mapper/{pattern}-#\", \"a|.*|\" ] }}"
    ))
}

/// One of the volumes that a pool lies on.
fn of_volume(volume: &Lv, config: &Config) -> Finding {
    let id = &volume.id;
    let listed = |list| config.lists(list, volume);
    if volume.health != LvHealth::Good {
        return Finding::problem(
            format!("the volume {id} is not whole"),
            format!("`lvs -o +devices,lv_health_status {id}` and `pvs` tell which disk is missing"),
        );
    }
    for list in [VOLUME_LIST, AUTOACTIVATED] {
        if !listed(list) {
            return Finding::warning(
                format!("the volume {id} stays inactive at boot: {list} in lvm.conf doesn't have it"),
                format!("add \"{}\" to activation/{list} in /etc/lvm/lvm.conf", id.vg),
            );
        }
    }
    if volume.autoactivation == Some(false) {
        return Finding::warning(
            format!("the volume {id} stays inactive at boot: it is set so"),
            format!("`lvchange --setautoactivation y {id}`"),
        );
    }
    if volume.skip_activation {
        return Finding::warning(
            format!("the volume {id} stays inactive at boot: activation passes it over"),
            format!("`lvchange --setactivationskip n {id}`"),
        );
    }
    Finding::ok(format!("the volume {id} is activated at boot"))
}

/// What `lvm.conf` and LVM's defaults say. A list that nobody set isn't in it.
struct Config(BTreeMap<String, Vec<String>>);

impl Config {
    /// Reads lines of `name=value`, `name="value"` and `name=["value","value"]`.
    fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim().split_once('='));
        Self(lines.map(|(name, value)| (name.to_owned(), items(value))).collect())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.0.get(name).is_none_or(|values| *values == [value])
    }

    /// Whether a list lets a volume be activated: by its group, its name or a tag.
    fn lists(&self, list: &str, volume: &Lv) -> bool {
        let Some(items) = self.0.get(list) else { return true };
        items.iter().any(|item| match item.strip_prefix('@') {
            // Which tags the host has, only LVM knows.
            Some("*") => true,
            Some(tag) => volume.tags.iter().any(|ours| ours.as_str() == tag),
            None => *item == volume.id.vg.as_str() || *item == volume.id.to_string(),
        })
    }
}

/// The values of a list: what stands between quotes, or all of it when there are none.
fn items(value: &str) -> Vec<String> {
    if value.contains('"') {
        value.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    } else if value.trim_matches(['[', ']', ' ']).is_empty() {
        Vec::new()
    } else {
        vec![value.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use ::lvm::Bytes;

    use super::super::testing::{Bench, levels};
    use super::*;
    use crate::doctor::Level;

    /// What LVM 2.03.16 prints where nothing is configured.
    const DEFAULT: &str = "use_devicesfile=0\nglobal_filter=[\"a|.*|\"]\nfilter=[\"a|.*|\"]\n";

    fn volume() -> Lv {
        Lv {
            uuid: "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg".parse().unwrap(),
            vg_uuid: "aaaaaa-bbbb-cccc-dddd-eeee-ffff-hhhhhh".parse().unwrap(),
            id: "direct-lvm/data".parse().unwrap(),
            size: Bytes(1 << 30),
            linear: true,
            active: true,
            open: Some(true),
            path: None,
            skip_activation: false,
            autoactivation: Some(true),
            health: LvHealth::Good,
            tags: vec!["thinpool.pool=ci".parse().unwrap()],
        }
    }

    fn level(volume: &Lv, config: &str) -> Level {
        of_volume(volume, &Config::read(&format!("{DEFAULT}{config}"))).level
    }

    #[test]
    fn a_volume_that_would_not_be_there_after_a_reboot_is_found() {
        assert_eq!(level(&volume(), ""), Level::Ok);
        assert_eq!(level(&Lv { autoactivation: Some(false), ..volume() }, ""), Level::Warning);
        assert_eq!(level(&Lv { skip_activation: true, ..volume() }, ""), Level::Warning);
        assert_eq!(level(&Lv { health: LvHealth::Partial, ..volume() }, ""), Level::Problem);
    }

    #[test]
    fn a_list_of_volumes_that_leaves_ours_out_is_found() {
        for (list, expected) in [
            ("auto_activation_volume_list=[]", Level::Warning),
            ("auto_activation_volume_list=[\"other\",\"@backup\"]", Level::Warning),
            ("volume_list=\"other\"", Level::Warning),
            ("volume_list=[\"other\",\"direct-lvm\"]", Level::Ok),
            ("auto_activation_volume_list=\"direct-lvm/data\"", Level::Ok),
            ("auto_activation_volume_list=\"@thinpool.pool=ci\"", Level::Ok),
            ("auto_activation_volume_list=\"@*\"", Level::Ok),
        ] {
            assert_eq!(level(&volume(), list), expected, "{list}");
        }
    }

    #[test]
    fn the_volume_groups_of_guests_are_spoken_of_unless_lvm_leaves_them_alone() {
        for (config, expected) in [
            (DEFAULT, Level::Note),
            ("use_devicesfile=1\nglobal_filter=[\"a|.*|\"]\nfilter=[\"a|.*|\"]", Level::Ok),
            ("use_devicesfile=0\nglobal_filter=\"r|/dev/mapper/ci-|\"\nfilter=[\"a|.*|\"]", Level::Ok),
        ] {
            let bench = Bench::new().with("var/lib/thinpool/ci/catalog.db", "");
            let found = guests(&bench.machine(), &Config::read(config));
            assert_eq!(found.level, expected, "{config}");
            assert!(found.remedy.is_none_or(|remedy| remedy.contains("r#^/dev/mapper/ci-#")));
        }
    }

    #[test]
    fn only_volumes_that_are_ours_are_judged() {
        let bench = Bench::new().with_program("lvm", &format!("printf '%s' '{DEFAULT}'"));
        let mut machine = bench.machine();
        machine.volumes = || {
            let foreign = Lv { tags: Vec::new(), autoactivation: Some(false), ..volume() };
            Ok(vec![foreign, Lv { autoactivation: Some(false), ..volume() }])
        };
        assert_eq!(levels(&all(&machine)), [Level::Note, Level::Warning]);
    }

    #[test]
    fn a_volume_that_was_given_to_a_pool_is_known_by_its_uuid() {
        let given = Lv { tags: Vec::new(), ..volume() };
        let uuid = "LVM-aaaaaabbbbccccddddeeeeffffhhhhhhaaaaaabbbbccccddddeeeeffffgggggg";
        assert!(is_ours(&given, &[Identity::DmUuid(uuid.to_owned())]));
        assert!(!is_ours(&given, &[Identity::Serial(uuid.to_owned())]));
    }

    #[test]
    fn a_machine_without_lvm_has_no_trouble_with_it() {
        assert_eq!(levels(&all(&Bench::new().machine())), [Level::Ok]);
    }

    #[test]
    fn an_lvm_that_does_not_answer_is_told_of() {
        let bench = Bench::new().with_program("lvm", "echo 'locking failed' >&2; exit 5");
        let found = all(&bench.machine());
        assert!(found[0].level == Level::Warning, "{found:?}");
    }
}
