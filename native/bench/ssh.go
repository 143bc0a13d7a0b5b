package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
)

// sshdRun is the folder that sshd, run as root, uses for privilege separation. The sshd
// service of the system makes it, but may never have run.
const sshdRun = "/run/sshd"

// startSSH starts a tunnel of ssh -L and a separate sshd with its own configuration, keys
// and port on the loopback. It uses only this user's account.
func startSSH(_ context.Context, target, _ string) (_ *tunnel, err error) {
	sshd, err := findProgram("sshd")
	if err != nil {
		return nil, err
	}
	ssh, err := findProgram("ssh")
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	t := &tunnel{}
	defer func() {
		if err != nil {
			stopAll(t.processes)
			t.clean()
		}
	}()
	if t.dir, err = os.MkdirTemp("", "bench-ssh-"); err != nil {
		return nil, err
	}
	if me.Uid == "0" && os.Mkdir(sshdRun, 0o755) == nil {
		t.made = sshdRun
	}
	port, err := sshFiles(t.dir, me.Username)
	if err != nil {
		return nil, err
	}
	local, err := freePort()
	if err != nil {
		return nil, err
	}
	t.addr = fmt.Sprintf("127.0.0.1:%d", local)
	for _, cmd := range []*exec.Cmd{
		exec.Command(sshd, "-D", "-e", "-f", filepath.Join(t.dir, "sshd_config")),
		exec.Command(ssh, "-N", "-F", filepath.Join(t.dir, "ssh_config"), "-L", t.addr+":"+target, "-p", fmt.Sprint(port), me.Username+"@127.0.0.1"),
	} {
		if len(t.processes) > 0 {
			if err := until(startLimit, func() bool { return listens(port) }); err != nil {
				return nil, fmt.Errorf("sshd: %w", err)
			}
		}
		p, err := start(cmd)
		if err != nil {
			return nil, err
		}
		p.wait()
		t.processes = append(t.processes, p)
	}
	if err := answering(t.addr, t.processes...); err != nil {
		return nil, t.told(err)
	}
	return t, nil
}

// sshFiles writes keys and configurations and returns sshd's port.
func sshFiles(dir, account string) (port int, err error) {
	for _, name := range []string{"host", "user"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	public, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		return 0, err
	}
	if port, err = freePort(); err != nil {
		return 0, err
	}
	server := []string{
		"ListenAddress 127.0.0.1", fmt.Sprintf("Port %d", port), "HostKey " + filepath.Join(dir, "host"),
		"AuthorizedKeysFile " + filepath.Join(dir, "user.pub"), "AllowUsers " + account, "PermitRootLogin prohibit-password",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no", "StrictModes no", "PidFile none",
		"PermitTTY no", "ForceCommand /bin/false", "AllowTcpForwarding local",
	}
	client := []string{
		"IdentityFile " + filepath.Join(dir, "user"), "IdentitiesOnly yes", "IdentityAgent none", "BatchMode yes",
		"UserKnownHostsFile " + filepath.Join(dir, "known_hosts"), "StrictHostKeyChecking yes", "ExitOnForwardFailure yes",
	}
	return port, errors.Join(
		os.WriteFile(filepath.Join(dir, "known_hosts"), fmt.Appendf(nil, "[127.0.0.1]:%d %s", port, public), 0o600),
		os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(strings.Join(server, "\n")+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "ssh_config"), []byte(strings.Join(client, "\n")+"\n"), 0o600),
	)
}
