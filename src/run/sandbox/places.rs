//! Where the process may write: Landlock, where the kernel has it.
//!
//! Everything can be read that the user may read (a configuration, words and packs may be changed
//! while it runs), nothing can be executed, and written only below the folders that are named and
//! in `/dev`. TCP is refused once more.
//!
//! It holds for the thread that asks and those that it starts, so it is put on before there are any
//! others.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};

/// The newest interface whose rights are asked for; an older kernel takes those that it knows.
const NEWEST: ABI = ABI::V5;

/// Closes everything to writing but these folders, and `/dev`. What the kernel made of it.
pub(super) fn close_all_but(folders: &[PathBuf]) -> Result<&'static str, String> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_write(NEWEST) & !AccessFs::IoctlDev;
    let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    let rule = |path: &std::path::Path, rights| {
        // what is not there cannot be written to; it will be refused when it comes
        let fd = PathFd::new(path).ok()?;
        Some(PathBeneath::new(fd, rights))
    };
    let rules = [
        rule("/".as_ref(), read),
        rule("/dev".as_ref(), device),
        rule("/dev/pts".as_ref(), device),
    ];
    let named = folders.iter().map(|folder| rule(folder, read | write));
    let set = || {
        let mut set = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .create()?;
        for rule in rules.into_iter().chain(named).flatten() {
            set = set.add_rule(rule)?;
        }
        set.restrict_self()
    };
    let status = set().map_err(|e: landlock::RulesetError| e.to_string())?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok("only named folders can be written to"),
        RulesetStatus::PartiallyEnforced => {
            Ok("only named folders can be written to, as far as this kernel knows how")
        }
        RulesetStatus::NotEnforced => Err("this kernel has no Landlock".into()),
    }
}
