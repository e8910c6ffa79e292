//! Where policies are found on this machine, and what their variables stand for in a session that is started here.

use std::path::{Path, PathBuf};

use super::diagnostics::Diagnostics;
use super::engine::Policy;
use super::fold;
use super::load::{Request, load};
use super::pack::Admits;
use super::profile::Profile;
use super::types::Scope;

/// Packs of the machine, root's.
const MACHINE: &str = "/etc/cavra/policy.d";
/// A folder of packs by id that comes before the others.
const FOLDER_VARIABLE: &str = "CAVRA_POLICY_DIR";
/// Trees that patterns by name do not reach into.
pub(crate) const SYSTEM_TREES: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/opt",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/proc",
    "/sys",
];

/// A workspace with the user and machine around it.
pub struct Place {
    /// What variables stand for.
    pub scope: Scope,
    /// Folders of packs by id.
    pub search: Vec<PathBuf>,
    /// Folders of profiles.
    pub profiles: Vec<PathBuf>,
    /// The workspace's own pack.
    pub repository: PathBuf,
    system_trees: Vec<PathBuf>,
    /// Whether a file system here takes several spellings for one name.
    folds: bool,
}

impl Place {
    /// The place of a canonical workspace, by this process's environment.
    #[must_use]
    pub fn of(workspace: &Path) -> Self {
        let scope = scope(workspace);
        let configuration = scope.home.join(".config/cavra");
        let named = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
        let search = [configuration.join("policies"), PathBuf::from("/etc/cavra/policies")];
        let own: Vec<&Path> = [&scope.workspace, &scope.home]
            .into_iter()
            .chain(&scope.tmp)
            .map(PathBuf::as_path)
            .collect();
        Self {
            folds: fold::is_around(&own),
            search: named.map(PathBuf::from).into_iter().chain(search).collect(),
            profiles: vec![configuration.join("profiles"), PathBuf::from("/etc/cavra/profiles")],
            repository: workspace.join(".cavra/policy.yaml"),
            system_trees: SYSTEM_TREES.iter().map(PathBuf::from).collect(),
            scope,
        }
    }

    /// The policy of a session here: the machine's packs, those of `--policy` or else the profile's, the workspace's own.
    pub fn load(
        &self,
        launch: &[String],
        profile: &Profile,
        agent: &str,
        admits: Option<&Admits<'_>>,
    ) -> Result<Policy, Diagnostics> {
        self.load_with(
            Path::new(MACHINE),
            Some(&self.repository),
            launch,
            profile,
            agent,
            admits,
        )
    }

    /// The policy of these packs alone, without those of machine and workspace.
    pub fn load_alone(&self, launch: &[String], profile: &Profile, agent: &str) -> Result<Policy, Diagnostics> {
        self.load_with(Path::new("/nonexistent"), None, launch, profile, agent, None)
    }

    fn load_with(
        &self,
        machine_dir: &Path,
        repository: Option<&Path>,
        launch: &[String],
        profile: &Profile,
        agent: &str,
        admits: Option<&Admits<'_>>,
    ) -> Result<Policy, Diagnostics> {
        let request = Request {
            launch,
            profile,
            machine_dir,
            repository,
            search: &self.search,
            scope: &self.scope,
            system_trees: &self.system_trees,
            env: &|name| std::env::var(name).ok(),
            agent,
            admits,
        };
        let policy = load(&request)?;
        if !self.folds {
            return Ok(policy);
        }
        let scope = Scope {
            fold: true,
            ..self.scope.clone()
        };
        Ok(policy.also_folded(load(&Request {
            scope: &scope,
            ..request
        })?))
    }
}

fn scope(workspace: &Path) -> Scope {
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/nonexistent"), PathBuf::from);
    let mut tmp: Vec<PathBuf> = ["/tmp", "/var/tmp", "/dev/shm"]
        .iter()
        .map(|path| real(path.into()))
        .collect();
    if let Some(dir) = std::env::var_os("TMPDIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
    {
        tmp.push(real(dir));
    }
    tmp.dedup();
    Scope {
        workspace: workspace.to_path_buf(),
        home: real(home),
        tmp,
        fold: false,
    }
}
