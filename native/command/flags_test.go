package command_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tombolo-net/tombolo/native/command"
)

// flags is a command line with one flag of each form that takes several values.
type flags struct {
	DataDir string
	Config  command.ConfigFlag
	Listen  []command.Listen
	Name    []string
	Time    time.Duration
}

func (f *flags) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	_, err := command.ReadConfig(ctx, trace.Node())
	return err
}

// parse parses a command line and a configuration in dir.
func parse(f *flags, dir string, args ...string) error {
	return command.Program{Name: "program", EnvPrefix: "PROGRAM", Flags: f}.Parse(append(args, "--data-dir", dir))
}

func TestAnEmptyValueThatIsGivenIsNotTakenForNone(t *testing.T) {
	for _, flag := range []string{"--listen=", "--listen=127.0.0.1:0,", "--listen=,127.0.0.1:0", "--name=", "--name=,", "--name=a,,b", "--name=a,"} {
		err := parse(&flags{}, t.TempDir(), flag)
		require.ErrorContains(t, err, "a value is empty", flag)
		require.ErrorContains(t, err, flag[:len("--name")], "the flag is named")
	}
	for _, line := range []string{`listen = []`, `listen = ""`, `listen = [""]`, `listen = ["127.0.0.1:0", ""]`, `name = []`, `name = ["a", "", "b"]`} {
		dir := t.TempDir()
		path := filepath.Join(dir, command.ConfigName)
		require.NoError(t, os.WriteFile(path, []byte("\n"+line), 0o600))
		err := parse(&flags{}, dir)
		require.ErrorContains(t, err, "a value is empty", line)
		require.ErrorContains(t, err, path+", line 2: "+line[:len("name")], "the line is named")
	}
	t.Setenv("PROGRAM_LISTEN", "")
	err := parse(&flags{}, t.TempDir())
	require.ErrorContains(t, err, "a value is empty")
	require.ErrorContains(t, err, "PROGRAM_LISTEN", "the variable is named")
}

func TestAFlagTakesSeveralValues(t *testing.T) {
	var f flags
	require.NoError(t, parse(&f, t.TempDir(), "--name=a,b", "--name", `c\,d`, `--name=e\`, "--listen=127.0.0.1:0"))
	assert.Equal(t, []string{"a", "b", "c,d", `e\`}, f.Name)
	assert.NotEmpty(t, command.Addrs(f.Listen))
	f = flags{}
	require.NoError(t, parse(&f, t.TempDir()))
	assert.Empty(t, f.Name)
}

func TestADurationBelowZeroIsRefused(t *testing.T) {
	require.ErrorContains(t, parse(&flags{}, t.TempDir(), "--time=-1s"), "--time")
	var f flags
	require.NoError(t, parse(&f, t.TempDir(), "--time=1m"))
	assert.Equal(t, time.Minute, f.Time)
	require.NoError(t, parse(&flags{}, t.TempDir(), "--time=0s"))
}
