package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/tombolo-net/tombolo/native/control"
)

// The scripts ask this program itself, so that they know its flags, and the peers and
// protocols of the daemon. The kong libraries for completion are no longer maintained.
//
// A completion is inserted as one word. bash inserts it unchanged, so its script quotes
// it, and marks file names as such, for readline to quote them; zsh and fish quote by
// themselves.
//
// bash also splits words at : and =, and replaces only the last part. So its script joins
// the parts that no space separates, and cuts what it keeps from each completion.
var completionScripts = map[string]string{
	"bash": `_tombolo() {
  local found part rest line=$COMP_LINE n=-1 words=() cur=${COMP_WORDS[COMP_CWORD]}
  for part in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    rest=${line#"${line%%[![:space:]]*}"}
    if [[ $n -ge 0 && $rest == "$line" ]]; then
      words[n]+=$part
    else
      n=$((n + 1)) words[n]=$part
    fi
    line=${rest#*"$part"}
  done
  [[ $cur == *[!=:]* ]] || cur=
  COMPREPLY=()
  while IFS= read -r found; do
    found=${found#"${words[n]%"$cur"}"}
    printf -v found %q "$found"
    COMPREPLY+=("$found")
  done < <(tombolo complete -- "${words[@]:1}" 2>/dev/null)
  if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r found; do COMPREPLY+=("$found"); done < <(compgen -f -- "$cur")
  fi
}
complete -o nosort -F _tombolo tombolo
`,
	"zsh": `#compdef tombolo
_tombolo() {
  local -a found
  found=("${(@f)$(tombolo complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -V tombolo -- $found; else _files; fi
}
compdef _tombolo tombolo
`,
	"fish": `function __tombolo
  set -l words (commandline -opc) (commandline -ct)
  tombolo complete -- $words[2..-1] 2>/dev/null
end
complete -c tombolo -a '(__tombolo)'
`,
}

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish. For bash: eval \"$(tombolo completion bash)\"."`
}

// Run prints the script.
func (c *completionCmd) Run() error {
	fmt.Print(completionScripts[c.Shell])
	return nil
}

type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints the candidates for the last word, one a line.
func (c *completeCmd) Run(app *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	last := ""
	if len(words) > 0 {
		last, words = words[len(words)-1], words[:len(words)-1]
	}
	for _, candidate := range candidates(app.Model.Node, words, last) {
		if strings.HasPrefix(candidate, last) && harmless(candidate) {
			fmt.Println(candidate)
		}
	}
	return nil
}

// harmless reports whether a word means itself in every shell, however it gets onto the
// command line: it consists of letters and digits of any script, and of / . _ - + @ % and
// :. Peers choose the names of their services, and a name with anything else in it, such
// as /x/photos;reboot, is not offered; it can still be typed.
func harmless(word string) bool {
	return !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+@%:", r)
	}) && utf8.ValidString(word)
}

// candidates finds the command that the words name and lists what may come next.
func candidates(node *kong.Node, words []string, last string) []string {
	args := 0
	var value *kong.Flag // whose value is the next word
	for _, w := range words {
		switch {
		case value != nil:
			value = nil
		case strings.HasPrefix(w, "-") && w != "-":
			if f := flagOf(node, w); f != nil && !f.IsBool() && !strings.Contains(w, "=") {
				value = f
			}
		case child(node, w) != nil:
			node = child(node, w)
		default:
			args++
		}
	}
	switch {
	case value != nil:
		return valuesOf(value.Value, words)
	case strings.HasPrefix(last, "-"):
		return flagNames(node)
	}
	var list []string
	for _, c := range node.Children {
		if c.Type == kong.CommandNode && !c.Hidden {
			list = append(list, c.Name)
		}
	}
	if args < len(node.Positional) {
		list = append(list, valuesOf(node.Positional[args], words)...)
	}
	return list
}

func child(node *kong.Node, name string) *kong.Node {
	for _, c := range node.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func flagOf(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if "--"+f.Name == word || f.Short != 0 && "-"+string(f.Short) == word {
				return f
			}
		}
	}
	return nil
}

func flagNames(node *kong.Node) []string {
	var names []string
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			names = append(names, "--"+f.Name)
		}
	}
	return names
}

// valuesOf lists the possible values of a flag or an argument, asking the daemon for
// peers and protocols.
func valuesOf(v *kong.Value, words []string) []string {
	switch {
	case v.Enum != "":
		return v.EnumSlice()
	case v.Name == "peer" || v.Target.Type() == reflect.TypeFor[[]peerFlag]():
		return ask(words, control.VerbPeers, func(p control.Peer) string { return p.ID.String() })
	case v.Name == "protocol":
		list := askOne(words, control.VerbLs)
		var names []string
		for _, l := range list.Listeners {
			names = append(names, string(l.Protocol))
		}
		return append(names, ask(words, control.VerbServices, func(o control.Offer) string { return string(o.Protocol) })...)
	}
	return nil
}

// completionTimeout bounds the wait after pressing tab.
const completionTimeout = time.Second

func ask[Q, T any](words []string, verb control.Verb[Q, []T], of func(T) string) []string {
	answers := askOne(words, verb)
	var texts []string
	for _, a := range answers {
		texts = append(texts, of(a))
	}
	return texts
}

// askOne asks the daemon that the words so far select; without a running daemon, nothing
// is suggested.
func askOne[Q, A any](words []string, verb control.Verb[Q, A]) (answer A) {
	dir := os.Getenv("TOMBOLO_DATA_DIR")
	for i, w := range words {
		if w == "--data-dir" && i+1 < len(words) {
			dir = words[i+1]
		} else if d, ok := strings.CutPrefix(w, "--data-dir="); ok {
			dir = d
		}
	}
	if dir == "" {
		dir = filepath.Join("~", ".tombolo")
	}
	client, err := control.NewClient(kong.ExpandPath(dir))
	if err != nil {
		return answer
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	var none Q
	answer, _ = verb.Call(ctx, client, none)
	return answer
}
