//! A terminal that a person could sit at: a tmux server of the test's own, keys sent, screens read.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use crate::places;
use crate::process::{Finished, Running};
use crate::stage::Stage;
use crate::suite::Unmet;
use crate::wait::DEADLINE;

/// A tmux server with one window that runs a shell in the world's workspace.
pub struct Terminal<'w> {
    world: &'w Stage,
}

impl<'w> Terminal<'w> {
    /// Starts the server and a plain `sh` (prompt `$ `) in it.
    pub fn new(world: &'w Stage) -> Result<Self, Unmet> {
        places::tool("tmux")?;
        let terminal = Self { world };
        terminal
            .tmux([
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                "120",
                "-y",
                "40",
                "env",
                "PS1=$ ",
                "ENV=",
                "sh",
                "-i",
            ])?
            .success();
        terminal.wait_until("a prompt", |screen| screen.trim_end().ends_with('$'));
        Ok(terminal)
    }

    /// Types `text` and Enter.
    pub fn line(&self, text: &str) {
        self.text(text);
        self.key("Enter");
    }

    /// Types `text`.
    pub fn text(&self, text: &str) {
        self.tmux(["send-keys", "-l", text]).unwrap().success();
    }

    /// Presses one key by tmux's name for it (`C-c`, `Enter`, `Escape`).
    pub fn key(&self, key: &str) {
        self.tmux(["send-keys", key]).unwrap().success();
    }

    /// Gives the window another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        let size = [columns, lines].map(|number| number.to_string());
        self.tmux(["resize-window", "-x", &size[0], "-y", &size[1]])
            .unwrap()
            .success();
    }

    /// What the screen shows.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(["capture-pane", "-p"])
            .map_or_else(|_| String::new(), |end| end.stdout)
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(&format!("{text:?} on the screen"), |screen| screen.contains(text));
    }

    /// Waits until the screen is as `wanted` says.
    #[track_caller]
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let seen = crate::wait::attempt(DEADLINE, || wanted(&self.screen()).then_some(()));
        assert!(
            seen.is_some(),
            "waited in vain for {what}; the screen:\n{}",
            self.screen()
        );
    }

    /// What `stty -a` says of the terminal now, asked from outside of the shell.
    #[must_use]
    pub fn modes(&self) -> String {
        let tty = self
            .tmux(["display-message", "-p", "#{pane_tty}"])
            .unwrap()
            .success()
            .stdout;
        let mut command = Command::new("stty");
        command.args(["-a", "-F", tty.trim()]);
        Running::start(command, None).finish(DEADLINE).success().stdout
    }

    /// The process in the terminal's foreground, by name, as tmux sees it.
    #[must_use]
    pub fn foreground(&self) -> String {
        self.tmux(["display-message", "-p", "#{pane_current_command}"])
            .map_or_else(|_| String::new(), |e| e.stdout.trim().to_owned())
    }

    fn tmux<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Result<Finished, Unmet> {
        let mut command = self.world.command("tmux")?;
        command.env("TMUX_TMPDIR", self.world.at("tmp")).args(words);
        Ok(Running::start(command, None).finish(Duration::from_secs(20)))
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(["kill-server"]);
    }
}
