//! npm and pip, from files: nothing is fetched.

use cavra_tests::{Stage, User, Verdict, places};

use crate::{Job, same};

pub fn npm_ci_from_a_lock_file(user: User) -> Verdict {
    places::tool("npm")?;
    let setup = |world: &Stage| {
        world.write(
            "ws/package/package.json",
            r#"{"name": "tide", "version": "1.0.0", "bin": {"tide": "cli.js"}}"#,
        );
        world.write("ws/package/index.js", "module.exports = () => 'high';\n");
        world.script(
            "ws/package/cli.js",
            "#!/usr/bin/env node\nconsole.log(require('./index.js')());\n",
        );
        world.write("ws/package.json", r#"{"name": "harbour", "version": "1.0.0"}"#);
        let lock = "tar czf tide-1.0.0.tgz package; rm -r package; \
                    npm install --offline --no-audit --no-fund --silent ./tide-1.0.0.tgz; rm -r node_modules";
        world.native(["sh", "-e", "-c", lock]).success();
    };
    let script = "npm ci --offline --no-audit --no-fund; npx --offline tide > out; npm ls >> out";
    let result = "cat out; find . -not -path '*/.cache/*' | sort; readlink node_modules/.bin/tide";
    same(
        user,
        &Job {
            setup: &setup,
            script,
            result,
            path: None,
        },
    )
}

/// A wheel is a zip with its own description in it.
const MAKE_WHEEL: &str = r#"
import os, zipfile
os.makedirs("wheels")
with zipfile.ZipFile("wheels/tide-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tide/__init__.py", "def tide():\n    return 'high'\n")
    wheel.writestr("tide-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tide\nVersion: 1.0\n")
    wheel.writestr("tide-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("tide-1.0.dist-info/entry_points.txt", "[console_scripts]\ntide = tide:tide\n")
    wheel.writestr("tide-1.0.dist-info/RECORD", "tide/__init__.py,,\ntide-1.0.dist-info/METADATA,,\ntide-1.0.dist-info/WHEEL,,\ntide-1.0.dist-info/entry_points.txt,,\ntide-1.0.dist-info/RECORD,,\n")
"#;

pub fn pip_installs_into_a_venv(user: User) -> Verdict {
    let setup = |world: &Stage| {
        world.native(["python3", "-c", MAKE_WHEEL]).success();
    };
    let script = "python3 -m venv v; v/bin/pip install --no-index --find-links wheels --disable-pip-version-check tide; \
                  v/bin/python -c 'import tide; print(tide.tide())' > out; v/bin/pip list --format=freeze >> out; \
                  v/bin/python -c 'import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 0)' >> out";
    let result = "cat out; ls v/bin; find v/lib -path '*tide*' -not -name '*.pyc' | sort";
    same(
        user,
        &Job {
            setup: &setup,
            script,
            result,
            path: None,
        },
    )
}
