package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parts are what bash splits a word into.
var parts = regexp.MustCompile(`[:=]+|[^:=]+|^$`)

// tab returns what bash offers when a person presses tab after these words.
func tab(t *testing.T, env []string, words ...string) []string {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	bin := t.TempDir()
	require.NoError(t, os.Symlink(binary, filepath.Join(bin, "tombolo")))
	cmd := exec.Command(bash, "--norc", "--noprofile", "-euc",
		`eval "$(tombolo completion bash)"; complete -p tombolo >&2; COMP_LINE=$1; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tombolo || true; printf '%s\n' "${COMPREPLY[@]}"`,
		"bash", "tombolo "+strings.Join(words, " "), "tombolo")
	for _, w := range words {
		cmd.Args = append(cmd.Args, parts.FindAllString(w, -1)...)
	}
	cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8"}, env...)
	cmd.Dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "a-file"), nil, 0o600))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	assert.Equal(t, "complete -o nosort -F _tombolo tombolo\n", stderr.String())
	return strings.Fields(string(out))
}

func TestBashCompletesCommandsFlagsAndValues(t *testing.T) {
	assert.Equal(t, []string{"forward"}, tab(t, nil, "for"))
	assert.Equal(t, []string{"connect", "close", "completion"}, tab(t, nil, "c"))
	all := tab(t, nil, "")
	assert.Contains(t, all, "up")
	assert.NotContains(t, all, "complete", "it is for scripts")
	assert.Equal(t, []string{"ls", "close", "watch"}, tab(t, nil, "streams", ""))
	assert.Equal(t, []string{"--ephemeral"}, tab(t, nil, "listen", "--ep"))
	assert.Equal(t, []string{"table", "wide", "json"}, tab(t, nil, "ls", "-o", ""))
	assert.Equal(t, []string{"bash"}, tab(t, nil, "completion", "b"))
	assert.Equal(t, []string{"a-file"}, tab(t, nil, "up", "--config", "a-f"), "otherwise files")
	assert.Equal(t, []string{"a-file"}, tab(t, nil, "up", "--config=a-f"))
	assert.Equal(t, []string{"a-file"}, tab(t, nil, "ping", "a-"), "no daemon is not an error")
}

func TestBashCompletesPeersAndProtocolsOfTheDaemon(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	a.does("listen", "/x/mine", "127.0.0.1:22")
	b.does("listen", "/x/theirs", "127.0.0.1:22", "--announce", "a shell")
	env := []string{"TOMBOLO_DATA_DIR=" + a.dir}
	assert.Equal(t, []string{b.id}, tab(t, env, "ping", b.id[:6]))
	assert.Equal(t, []string{b.id}, tab(t, env, "ping", "-c", "1", ""))
	assert.Equal(t, []string{b.id}, tab(t, env, "listen", "/x/a", "t", "--allow", ""))
	assert.Equal(t, []string{"/x/mine", "/x/theirs"}, tab(t, env, "forward", ""))
	assert.Equal(t, []string{"/x/theirs"}, tab(t, env, "forward", "/x/t"))
	assert.Equal(t, []string{b.id}, tab(t, env, "forward", "/x/theirs", "127.0.0.1:0", ""))
	assert.Equal(t, []string{"/x/mine", "/x/theirs"}, tab(t, env, "close", "-p", ""))
	b.does("listen", "/x/t;touch${IFS}pwned;:", "127.0.0.1:22", "--announce", "photos")
	b.does("listen", "/x/tür-2.0_a+b@c%d:e", "127.0.0.1:22", "--announce", "a name that is safe")
	assert.Equal(t, []string{"/x/theirs", "/x/tür-2.0_a+b@c%d:e"}, tab(t, env, "forward", "/x/t"), "a name that a shell might not read as one word is not offered")
	assert.Equal(t, []string{b.id}, tab(t, nil, "ping", "--data-dir", a.dir, ""))
	assert.Equal(t, []string{b.id}, tab(t, nil, "ping", "--data-dir="+a.dir, ""))
	assert.Equal(t, []string{"e"}, tab(t, env, "forward", "/x/tür-2.0_a+b@c%d:"), "bash keeps what is before it")
}

func TestEveryShellHasAScriptThatAsks(t *testing.T) {
	for _, name := range []string{"bash", "zsh", "fish"} {
		r := shell(t, nil, "", "completion", name)
		assert.Equal(t, 0, r.code)
		assert.Contains(t, r.stdout, "tombolo complete -- ")
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not here to read its script", name)
			continue
		}
		check := exec.Command(path, "-n")
		check.Stdin = strings.NewReader(r.stdout)
		out, err := check.CombinedOutput()
		assert.NoError(t, err, "%s: %s", name, out)
	}
}
