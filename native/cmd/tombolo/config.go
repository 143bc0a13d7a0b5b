package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// configName is the configuration's in a data directory.
const configName = "config.toml"

// configFlag is a file with values for the flags of its command, by their names.
// A variable of the environment comes before it, and a flag before both.
type configFlag string

// configFile answers kong's questions for the values of flags.
type configFile struct {
	path   string
	values map[string]any
}

// BeforeResolve reads the file, so that kong can ask it.
func (c *upCmd) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	value := func(name string) string {
		for _, f := range trace.Node().Flags {
			if f.Name == name {
				return fmt.Sprint(ctx.FlagValue(f))
			}
		}
		return ""
	}
	path := value("config")
	given := path != ""
	if !given {
		path = filepath.Join(value("data-dir"), configName)
	}
	b, err := os.ReadFile(kong.ExpandPath(path))
	if errors.Is(err, os.ErrNotExist) && !given {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	file := &configFile{path: path}
	if err := toml.Unmarshal(b, &file.values); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, _ := at.Position()
			return fmt.Errorf("the configuration %s, line %d: %w", path, row, err)
		}
		return fmt.Errorf("the configuration %s: %w", path, err)
	}
	for key, value := range file.values {
		if isTable(value) {
			return fmt.Errorf("the configuration %s, line %d: %q is a table; it holds values only", path, lineOf(b, key), key)
		}
		if !isFlag(trace.Node(), key) {
			return fmt.Errorf("the configuration %s, line %d: there is no %q; it holds flags of tombolo up, by their names", path, lineOf(b, key), key)
		}
	}
	ctx.AddResolver(file)
	return nil
}

func isTable(v any) bool {
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, isTable)
	}
	_, ok := v.(map[string]any)
	return ok
}

// lineOf finds the line of a key in a configuration that is good TOML.
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

// isFlag says whether a key of the configuration is a flag's name.
func isFlag(command *kong.Node, key string) bool {
	if key == "config" || key == "data-dir" || key == "help" {
		return false // they say where the configuration is
	}
	for _, f := range command.Flags {
		if f.Name == key {
			return true
		}
	}
	return false
}

var _ kong.Resolver = (*configFile)(nil)

// Validate implements kong.Resolver.
func (c *configFile) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. kong would put it before the environment.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	value, ok := c.values[flag.Name]
	if !ok {
		return nil, nil
	}
	if list, ok := value.([]any); ok {
		if len(list) == 0 {
			return nil, nil
		}
		texts := make([]string, len(list))
		for i, v := range list {
			texts[i] = strings.ReplaceAll(fmt.Sprint(v), ",", `\,`)
		}
		return strings.Join(texts, ","), nil
	}
	return fmt.Sprint(value), nil
}
