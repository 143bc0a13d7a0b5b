package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/tombolo-net/tombolo/native/plainfile"
)

// ConfigName is the name of the configuration file in a data directory.
const ConfigName = "config.toml"

// maxConfig is the maximum size of the configuration, in bytes.
const maxConfig = 1 << 20

// ConfigFlag is the flag for a file with values for the flags of its command, by their
// names. An environment variable overrides the file, and a flag overrides both. The flag
// must be called config, and the command must also have one called data-dir. The command
// reads the file with ReadConfig.
type ConfigFlag string

// Config is a configuration file that was read. It is kong's resolver of the values of
// flags.
type Config struct {
	path   string
	body   []byte
	values map[string]any
}

// ReadConfig reads the configuration of a command and registers it with kong. Call it in
// the BeforeResolve method of the command's struct. It returns nil if there is no
// configuration.
func ReadConfig(ctx *kong.Context, command *kong.Node) (*Config, error) {
	value := func(name string) string {
		for _, f := range command.Flags {
			if f.Name == name {
				return fmt.Sprint(ctx.FlagValue(f))
			}
		}
		return ""
	}
	path := value("config")
	given := path != ""
	if !given {
		path = filepath.Join(value("data-dir"), ConfigName)
	}
	b, err := plainfile.Read(kong.ExpandPath(path), maxConfig)
	if errors.Is(err, os.ErrNotExist) && !given {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	file := &Config{path: path, body: b}
	if err := toml.Unmarshal(b, &file.values); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, _ := at.Position()
			return nil, fmt.Errorf("the configuration %s, line %d: %w", path, row, err)
		}
		return nil, fmt.Errorf("the configuration %s: %w", path, err)
	}
	for key, value := range file.values {
		if err := check(command, key, value); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Place(key), err)
		}
	}
	ctx.AddResolver(file)
	return file, nil
}

// Place returns the file, and the line of a key, for an error message.
func (c *Config) Place(key string) string {
	if line := lineOf(c.body, key); line > 0 {
		return fmt.Sprintf("the configuration %s, line %d", c.path, line)
	}
	return "the configuration " + c.path
}

// check returns what is wrong with a value. kong's own error would not name the file.
func check(command *kong.Node, key string, value any) error {
	if isTable(value) {
		return fmt.Errorf("%q is a table; it holds values only", key)
	}
	flag := flagNamed(command, key)
	if flag == nil {
		return fmt.Errorf("there is no %q; it holds flags of %s, by their names", key, command.FullPath())
	}
	scan := kong.Scan().PushTyped(text(value), kong.FlagValueToken)
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, reflect.New(flag.Target.Type()).Elem()); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func isTable(v any) bool {
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, isTable)
	}
	_, ok := v.(map[string]any)
	return ok
}

// lineOf returns the line of a key in a valid TOML file.
func lineOf(b []byte, key string) int {
	var p unstable.Parser
	p.Reset(b)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.KeyValue && e.Kind != unstable.Table && e.Kind != unstable.ArrayTable {
			continue
		}
		if names := e.Key(); names.Next() && string(names.Node().Data) == key {
			return p.Shape(names.Node().Raw).Start.Line
		}
	}
	return 0
}

// flagNamed returns the flag for a key of the configuration.
func flagNamed(command *kong.Node, key string) *kong.Flag {
	if key == "config" || key == "data-dir" || key == "help" {
		return nil // these decide which file is read
	}
	for _, f := range command.Flags {
		if f.Name == key {
			return f
		}
	}
	return nil
}

var _ kong.Resolver = (*Config)(nil)

// Validate implements kong.Resolver.
func (c *Config) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. By itself, kong would prefer its value to the
// environment.
func (c *Config) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	value, ok := c.values[flag.Name]
	if !ok {
		return nil, nil
	}
	return text(value), nil
}

// text returns a value as it would be written after its flag.
func text(value any) string {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = strings.ReplaceAll(fmt.Sprint(v), ",", `\,`)
	}
	return strings.Join(texts, ",")
}
