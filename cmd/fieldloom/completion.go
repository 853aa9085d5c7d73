package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionWord struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help has the examples.
func (*completionWord) Help() string {
	return `Completes words and flags, and for read, write and watch the points of the gateway, if it runs.

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

// pointWords are the words whose arguments are points.
const pointWords = "read|write|watch"

// word is a word of the command line and its flags.
type word struct {
	name, help string
	flags      []*kong.Flag
}

func wordsOf(model *kong.Application) []word {
	var list []word
	for _, n := range model.Children {
		if n.Hidden {
			continue
		}
		w := word{name: n.Name, help: n.Help}
		for _, group := range n.AllFlags(true) {
			w.flags = append(w.flags, group...)
		}
		list = append(list, w)
	}
	return list
}

func names(words []word) string {
	var list []string
	for _, w := range words {
		list = append(list, w.name)
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
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word=${COMP_WORDS[1]} flags= i where=()
	if (( COMP_CWORD == 1 )); then
		COMPREPLY=($(compgen -W %q -- "$cur"))
		return
	fi
	case $prev in
	--config|--socket|--data|--drivers) COMPREPLY=($(compgen -f -- "$cur")); return ;;
	esac
	case $word in
`, names(words)+" --help")
	for _, w := range words {
		fmt.Fprintf(&b, "\t%s) flags=%q ;;\n", w.name, w.dashed())
	}
	fmt.Fprintf(&b, `	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
		return
	fi
	case $word in
	completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$cur")) ;;
	%s)
		for (( i = 2; i < COMP_CWORD; i++ )); do
			case ${COMP_WORDS[i]} in
			--config|--socket) where=("${COMP_WORDS[i]}" "${COMP_WORDS[i+1]}") ;;
			esac
		done
		COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __names "${where[@]}" 2>/dev/null)" -- "$cur"))
		;;
	esac
}
complete -F _fieldloom fieldloom
`, pointWords)
	return b.String()
}

func zshScript(model *kong.Application) string {
	var b strings.Builder
	b.WriteString("#compdef fieldloom\n# zsh completion of fieldloom\n_fieldloom() {\n\tlocal -a words_ points\n\twords_=(\n")
	words := wordsOf(model)
	for _, w := range words {
		fmt.Fprintf(&b, "\t\t%s\n", shellQuote(w.name+":"+w.help))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe word words_\n\t\treturn\n\tfi\n\tcase $words[2] in\n")
	for _, w := range words {
		fmt.Fprintf(&b, "\t%s)\n\t\t_arguments -s", w.name)
		for _, f := range w.flags {
			fmt.Fprintf(&b, " \\\n\t\t\t%s", shellQuote(zshFlag(f)))
		}
		fmt.Fprintf(&b, " \\\n\t\t\t'*: :%s'\n\t\t;;\n", zshArgument(w.name))
	}
	b.WriteString("\tesac\n}\n")
	b.WriteString("_fieldloom_points() {\n\tlocal -a points\n\tpoints=(${(f)\"$(fieldloom __names 2>/dev/null)\"})\n\tcompadd -a points\n}\n")
	b.WriteString("if [[ $funcstack[1] == _fieldloom ]]; then _fieldloom; else compdef _fieldloom fieldloom; fi\n")
	return b.String()
}

func zshFlag(f *kong.Flag) string {
	text := "--" + f.Name + "[" + strings.NewReplacer("[", "(", "]", ")").Replace(f.Help) + "]"
	switch {
	case f.IsBool():
		return text
	case f.Name == "for" || f.Name == "since" || f.Name == "devices":
		return text + ":" + f.Name + ":"
	}
	return text + ":" + f.Name + ":_files"
}

func zshArgument(word string) string {
	switch {
	case strings.Contains("|"+pointWords+"|", "|"+word+"|"):
		return "_fieldloom_points"
	case word == "completion":
		return "(bash zsh fish)"
	}
	return ""
}

func fishScript(model *kong.Application) string {
	var b strings.Builder
	b.WriteString("# fish completion of fieldloom\ncomplete -c fieldloom -f\n")
	for _, w := range wordsOf(model) {
		fmt.Fprintf(&b, "complete -c fieldloom -n __fish_use_subcommand -a %s -d %s\n", w.name, shellQuote(w.help))
		for _, f := range w.flags {
			takes := ""
			if !f.IsBool() {
				takes = " -r -F"
			}
			fmt.Fprintf(&b, "complete -c fieldloom -n '__fish_seen_subcommand_from %s' -l %s%s -d %s\n", w.name, f.Name, takes, shellQuote(f.Help))
		}
	}
	fmt.Fprintf(&b, "complete -c fieldloom -n '__fish_seen_subcommand_from %s' -a '(fieldloom __names 2>/dev/null)'\n", strings.ReplaceAll(pointWords, "|", " "))
	b.WriteString("complete -c fieldloom -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n")
	return b.String()
}

// shellQuote puts a text into single quotes.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
