//! LVM: whether it activates the volumes that pools lie on, and leaves alone what guests keep in containers.

use std::collections::BTreeMap;

use ::lvm::{Lv, LvHealth, Tag};

use super::machine::ask;
use super::{Finding, Machine, left_volumes};
use crate::backing::block::Identity;
use crate::catalog::{Catalog, CatalogError};

/// The tag of what LVM made for a pool, before that pool's uuid.
const OUR_TAG: &str = "thinpool.pool=";

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
    let known = match Known::of(machine) {
        Ok(known) => known,
        Err(error) => {
            findings.push(machine.refused("what pools lie on", &error.to_string()));
            return findings;
        }
    };
    match (machine.volumes)().and_then(|volumes| Ok((volumes, (machine.groups)()?))) {
        Ok((volumes, groups)) => {
            findings.extend(left_volumes::all(&machine.pools.root, &known, &groups, &volumes));
            let ours = volumes.iter().filter(|volume| known.has(volume));
            findings.extend(ours.map(|volume| of_volume(volume, &config)));
        }
        Err(error) => findings.push(machine.refused("LVM's volumes", &error.to_string())),
    }
    findings
}

/// The pools that there are, however far their lives have come.
#[derive(Default)]
pub(super) struct Known {
    /// Their uuids.
    pub(super) pools: Vec<uuid::Uuid>,
    /// The block devices that they lie on.
    pub(super) members: Vec<Identity>,
}

impl Known {
    fn of(machine: &Machine) -> Result<Self, CatalogError> {
        let mut known = Self::default();
        for name in machine.pool_names().unwrap_or_default() {
            let catalog = Catalog::open(&machine.pools.root.join(name).join("catalog.db"))?;
            let Some(record) = catalog.map(|catalog| catalog.pool()).transpose()?.flatten() else { continue };
            known.members.extend(record.backing.members().map(|(_, member)| member.identity.clone()));
            known.pools.push(record.uuid);
        }
        Ok(known)
    }

    /// Whether the volume was made for one of them, or given to one.
    fn has(&self, volume: &Lv) -> bool {
        let uuid = format!("{}{}", volume.vg_uuid, volume.uuid).replace('-', "");
        owner(&volume.tags).is_some_and(|pool| self.pools.contains(&pool))
            || self.members.contains(&Identity::DmUuid(format!("LVM-{uuid}")))
    }
}

/// The pool that LVM made something for, by the tag that we gave it.
pub(super) fn owner(tags: &[Tag]) -> Option<uuid::Uuid> {
    tags.iter().find_map(|tag| tag.as_str().strip_prefix(OUR_TAG)?.parse().ok())
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

    /// The pool that the volume was made for.
    fn known() -> Known {
        Known { pools: owner(&volume().tags).into_iter().collect(), members: Vec::new() }
    }

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
            tags: vec!["thinpool.pool=00000000000000000000000000000007".parse().unwrap()],
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
            ("auto_activation_volume_list=\"@thinpool.pool=00000000000000000000000000000007\"", Level::Ok),
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
        let foreign = Lv { tags: Vec::new(), ..volume() };
        assert!(known().has(&volume()));
        assert!(!known().has(&foreign));
        assert!(!Known::default().has(&volume()), "one of a pool that isn't there");
    }

    #[test]
    fn a_volume_that_was_given_to_a_pool_is_known_by_its_uuid() {
        let given = Lv { tags: Vec::new(), ..volume() };
        let uuid = "LVM-aaaaaabbbbccccddddeeeeffffhhhhhhaaaaaabbbbccccddddeeeeffffgggggg";
        let lies_on = |member: Identity| Known { members: vec![member], ..Known::default() };
        assert!(lies_on(Identity::DmUuid(uuid.to_owned())).has(&given));
        assert!(!lies_on(Identity::Serial(uuid.to_owned())).has(&given));
    }

    #[test]
    fn what_lvm_made_for_a_pool_that_isnt_there_is_told_of() {
        let bench = Bench::new().with_program("lvm", &format!("printf '%s' '{DEFAULT}'"));
        let mut machine = bench.machine();
        machine.volumes = || Ok(vec![volume(), Lv { tags: Vec::new(), ..volume() }]);
        assert_eq!(levels(&all(&machine)), [Level::Note, Level::Warning]);
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
