package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionWord struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help has the examples.
func (*completionWord) Help() string {
	return `Completes words and flags, and the points, links, devices and drivers of the gateway, if it runs.

  source <(fieldloom completion bash)                              in ~/.bashrc
  fieldloom completion zsh  > "${fpath[1]}/_fieldloom"
  fieldloom completion fish > ~/.config/fish/completions/fieldloom.fish`
}

// Run prints the script.
func (w *completionWord) Run(s *screen, model *kong.Application) error {
	script := map[string]func(*kong.Application) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[w.Shell]
	_, err := fmt.Fprint(s.out, script(model))
	return err
}

// nameKinds are what the arguments of words are, as __names prints them.
var nameKinds = map[string]string{
	"read": "points", "values": "points", "write": "points", "watch": "points", "status": "lines", "offline": "lines", "online": "lines",
	"browse": "lines", "discover": "lines", "explain": "points",
	"driver remove": "drivers", "driver upgrade": "drivers", "driver rollback": "drivers", "driver enable": "drivers",
	"driver disable": "drivers", "driver logs": "drivers", "driver level": "drivers",
}

// wordsOfKind are the words whose arguments are of a kind, for a shell's pattern.
func wordsOfKind(kind string) []string {
	var list []string
	for word, k := range nameKinds {
		if k == kind {
			list = append(list, word)
		}
	}
	slices.Sort(list)
	return list
}

var kindsOfNames = []string{"points", "lines", "drivers"}

// word is a word of the command line and its flags. One with words below it has the
// full name of each, as "driver list".
type word struct {
	name, help string
	flags      []*kong.Flag
	below      []word
}

func wordsOf(model *kong.Application) []word { return wordsBelow(model.Node, "") }

func wordsBelow(node *kong.Node, prefix string) []word {
	var list []word
	for _, n := range node.Children {
		if n.Hidden {
			continue
		}
		w := word{name: prefix + n.Name, help: n.Help}
		for _, group := range n.AllFlags(true) {
			w.flags = append(w.flags, group...)
		}
		w.below = wordsBelow(n, n.Name+" ")
		list = append(list, w)
	}
	return list
}

// last is the word itself, without the one above it.
func (w *word) last() string { return w.name[strings.LastIndexByte(w.name, ' ')+1:] }

// flat is all words, those below others too.
func flat(words []word) []word {
	var list []word
	for _, w := range words {
		list = append(append(list, w), w.below...)
	}
	return list
}

func names(words []word) string {
	var list []string
	for _, w := range words {
		list = append(list, w.last())
	}
	return strings.Join(list, " ")
}

func (w *word) dashed() string {
	var list []string
	for _, f := range w.flags {
		list = append(list, "--"+f.Name)
	}
	return strings.Join(list, " ")
}

func bashScript(model *kong.Application) string {
	words := wordsOf(model)
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion of fieldloom
_fieldloom() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word=${COMP_WORDS[1]} flags= kind= i where=()
	if (( COMP_CWORD == 1 )); then
		COMPREPLY=($(compgen -W %q -- "$cur"))
		return
	fi
	case $prev in
	--config|--socket|--data|--drivers|--key|--trust|--into) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	esac
	case $word in
`, names(words)+" --help")
	for _, w := range words {
		if w.below != nil {
			fmt.Fprintf(&b, `	%s)
		if (( COMP_CWORD == 2 )); then
			COMPREPLY=($(compgen -W %q -- "$cur"))
			return
		fi
		word="$word ${COMP_WORDS[2]}" ;;
`, w.name, names(w.below)+" --help")
		}
	}
	b.WriteString("\tesac\n\tcase $word in\n")
	for _, w := range flat(words) {
		fmt.Fprintf(&b, "\t%q) flags=%q ;;\n", w.name, w.dashed())
	}
	b.WriteString("\tesac\n\tcase $word in\n")
	for _, kind := range kindsOfNames {
		fmt.Fprintf(&b, "\t%s) kind=%s ;;\n", `"`+strings.Join(wordsOfKind(kind), `"|"`)+`"`, kind)
	}
	b.WriteString(`	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
	elif [[ $word == completion ]]; then
		COMPREPLY=($(compgen -W "bash zsh fish" -- "$cur"))
	elif [[ -z $kind ]]; then
		COMPREPLY=($(compgen -f -- "$cur"))
	else
		for (( i = 2; i < COMP_CWORD; i++ )); do
			case ${COMP_WORDS[i]} in
			--config|--socket) where=("${COMP_WORDS[i]}" "${COMP_WORDS[i+1]}") ;;
			esac
		done
		COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __names --kind "$kind" "${where[@]}" 2>/dev/null)" -- "$cur"))
	fi
}
complete -F _fieldloom fieldloom
`)
	return b.String()
}

func zshScript(model *kong.Application) string {
	var b strings.Builder
	b.WriteString("#compdef fieldloom\n# zsh completion of fieldloom\n_fieldloom() {\n\tlocal -a words_\n")
	words := wordsOf(model)
	zshChoice(&b, words, 2)
	b.WriteString("\tcase $words[2] in\n")
	for _, w := range words {
		if w.below == nil {
			zshWord(&b, &w)
			continue
		}
		fmt.Fprintf(&b, "\t%s)\n", w.name)
		zshChoice(&b, w.below, 3)
		b.WriteString("\tcase $words[3] in\n")
		for _, below := range w.below {
			zshWord(&b, &below)
		}
		b.WriteString("\tesac\n\t;;\n")
	}
	b.WriteString("\tesac\n}\n")
	for _, kind := range kindsOfNames {
		fmt.Fprintf(&b, "_fieldloom_%[1]s() {\n\tlocal -a names_\n\tnames_=(${(f)\"$(fieldloom __names --kind %[1]s 2>/dev/null)\"})\n\tcompadd -a names_\n}\n", kind)
	}
	b.WriteString("if [[ $funcstack[1] == _fieldloom ]]; then _fieldloom; else compdef _fieldloom fieldloom; fi\n")
	return b.String()
}

// zshChoice offers words at a place of the command line.
func zshChoice(b *strings.Builder, words []word, place int) {
	b.WriteString("\twords_=(\n")
	for _, w := range words {
		fmt.Fprintf(b, "\t\t%s\n", shellQuote(w.last()+":"+w.help))
	}
	fmt.Fprintf(b, "\t)\n\tif (( CURRENT == %d )); then\n\t\t_describe word words_\n\t\treturn\n\tfi\n", place)
}

func zshWord(b *strings.Builder, w *word) {
	fmt.Fprintf(b, "\t%s)\n\t\t_arguments -s", w.last())
	for _, f := range w.flags {
		fmt.Fprintf(b, " \\\n\t\t\t%s", shellQuote(zshFlag(f)))
	}
	fmt.Fprintf(b, " \\\n\t\t\t'*: :%s'\n\t\t;;\n", zshArgument(w.name))
}

func zshFlag(f *kong.Flag) string {
	text := "--" + f.Name + "[" + strings.NewReplacer("[", "(", "]", ")").Replace(f.Help) + "]"
	switch {
	case f.IsBool():
		return text
	case slices.Contains([]string{"config", "socket", "data", "drivers", "key", "trust", "into", "archive", "private", "public"}, f.Name):
		return text + ":" + f.Name + ":_files"
	}
	return text + ":" + f.Name + ":"
}

func zshArgument(word string) string {
	switch kind := nameKinds[word]; {
	case kind != "":
		return "_fieldloom_" + kind
	case word == "completion":
		return "(bash zsh fish)"
	case word == "driver install", word == "driver sign", word == "driver verify", word == "driver pack", word == "driver try":
		return "_files"
	}
	return ""
}

func fishScript(model *kong.Application) string {
	var b strings.Builder
	b.WriteString("# fish completion of fieldloom\ncomplete -c fieldloom -f\n")
	for _, w := range wordsOf(model) {
		fmt.Fprintf(&b, "complete -c fieldloom -n __fish_use_subcommand -a %s -d %s\n", w.name, shellQuote(w.help))
		fishFlags(&b, &w, "__fish_seen_subcommand_from "+w.name)
		for _, below := range w.below {
			fmt.Fprintf(&b, "complete -c fieldloom -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from %s' -a %s -d %s\n",
				w.name, names(w.below), below.last(), shellQuote(below.help))
			fishFlags(&b, &below, "__fish_seen_subcommand_from "+w.name+"; and __fish_seen_subcommand_from "+below.last())
		}
	}
	for _, kind := range kindsOfNames {
		for _, name := range wordsOfKind(kind) {
			seen := strings.ReplaceAll(name, " ", "; and __fish_seen_subcommand_from ")
			fmt.Fprintf(&b, "complete -c fieldloom -n '__fish_seen_subcommand_from %s' -a '(fieldloom __names --kind %s 2>/dev/null)'\n", seen, kind)
		}
	}
	b.WriteString("complete -c fieldloom -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n")
	return b.String()
}

func fishFlags(b *strings.Builder, w *word, when string) {
	for _, f := range w.flags {
		takes := ""
		if !f.IsBool() {
			takes = " -r -F"
		}
		fmt.Fprintf(b, "complete -c fieldloom -n '%s' -l %s%s -d %s\n", when, f.Name, takes, shellQuote(f.Help))
	}
}

// shellQuote puts a text into single quotes.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
