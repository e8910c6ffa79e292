/*
 * Class 39: options that stand between a program and its verb. The programs are named as the real ones and are not they: each run is told
 * on descriptor 9, and each line here is one that the default pack refuses in its plain form.
 */
#include "marks.h"

static const char *const lines[] = {
    "terraform apply", "terraform -chdir=d apply", "terraform -chdir d apply", "terraform -no-color apply -auto-approve", "TF_LOG=x terraform apply",
    "terraform destroy", "terraform -chdir=d destroy", "kubectl delete pod x", "kubectl --context x delete pod x", "kubectl --context=x delete pod x",
    "kubectl -n x delete pod x", "kubectl -nx delete pod x", "kubectl --namespace x --context y delete pod x", "kubectl -v=9 delete pod x", "kubectl -v 9 delete pod x",
    "kubectl --kubeconfig k drain n", "kubectl --as root drain n", "helm -n x uninstall y", "helm --kube-context x uninstall y", "helm --debug uninstall y",
    "aws iam create-access-key", "aws --profile p iam create-access-key", "aws --region=r --profile p iam create-access-key", "aws --output json iam create-access-key",
    "az --verbose role assignment create", "gcloud --project p projects add-iam-policy-binding x", "gcloud --quiet projects add-iam-policy-binding x",
    "docker --context c system prune", "docker -H tcp://x system prune", "npm --prefix d publish", "npm --registry=r publish", "npm -w p publish", "pnpm -C d publish",
    "cargo +nightly publish", "cargo --config x publish", "cargo -Zx publish", "gh --repo a/b release create v1", "gh -R a/b release create v1",
    "docker --config c push x", "podman --log-level debug push x",
    /* Through the shell's own tricks. */
    "t=terraform; $t app\"\"ly", "ter''raform apply", "\\terraform apply", "command terraform apply", "exec terraform apply", "eval 'terraform apply'",
    "(terraform apply)", "terraform $(echo apply)", "set -- apply; terraform \"$@\"", "env -i PATH=\"$PATH\" terraform apply", "env -S 'terraform apply'",
    "nice -n1 terraform apply", "nohup terraform apply", "timeout 5 terraform apply", "setsid -w terraform apply", "stdbuf -o0 terraform apply",
    "ionice -c 3 terraform apply", "time -p true; terraform apply", "echo apply | xargs terraform", "find . -maxdepth 0 -exec terraform apply ';'",
    "perl -e 'exec qw(terraform apply)'", "awk 'BEGIN{system(\"terraform apply\")}'", "sh -c 'exec terraform apply'", "bash -c 'terraform apply'",
    "alias x=terraform; eval 'x apply'", "f() { terraform apply; }; f", "trap 'terraform apply' EXIT", "ln -sf $(command -v terraform) t; ./t apply",
    "cp $(command -v terraform) t; ./t apply", "$(command -v terraform) apply", "cat $(command -v terraform) > t; chmod +x t; ./t apply",
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    open_marks();
    chdir(at("ok"));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct tally tally;
        char name[96];
        snprintf(name, sizeof name, "verb/%s", lines[i]);
        for (char *c = name; *c; c++)
            if (*c == '"' || *c == '\\' || *c == '|')
                *c = '_';
        if (!begin(&tally, 39, "%s", name))
            continue;
        tally.asked = 1;
        int status;
        pid_t child = fork();
        if (!child) {
            execl("/bin/sh", "sh", "-c", lines[i], NULL);
            _exit(errno);
        }
        waitpid(child, &status, 0);
        long runs = 0;
        forbidden_ran(&runs);
        count(&tally, runs > 0, runs ? 0 : WIFEXITED(status) && WEXITSTATUS(status) == 126 ? EACCES : 0);
        unlink("t");
        report(&tally);
    }
    return 0;
}
