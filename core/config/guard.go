package config

import (
	"fmt"

	"github.com/goccy/go-yaml/token"
)

const (
	maxDepth = 64
	// maxParseCost bounds the time that the YAML parser takes: it compares every
	// entry of a block map with those before it, so the cost of a map is the
	// square of its length. This much is a map of 20,000 entries, or a second.
	maxParseCost = 20_000 * 20_000
)

// A refusal is why a token is not taken.
type refusal struct {
	token *token.Token
	text  string
}

var refused = map[token.Type]string{
	token.TagType:       "tags (!) are not taken: write the plain value",
	token.AnchorType:    "anchors (&) are not taken: write a template, or put a text that begins with & in quotes",
	token.AliasType:     "aliases (*) are not taken: use a template, or put a text that begins with * in quotes",
	token.MergeKeyType:  "merge keys (<<) are not taken: use a template",
	token.DirectiveType: "directives (%) are not taken: remove the line",
	token.MappingKeyType: "keys with a question mark are not taken: write `key: value`, " +
		"or put a text that begins with ? in quotes",
	token.DocumentEndType: "only one document a file is taken: remove the line",
}

// guard looks at the tokens before they are parsed, because the parser recurses,
// expands and searches without limits.
func guard(tokens token.Tokens) *refusal {
	var g guarded
	for i, t := range tokens {
		if text, ok := refused[t.Type]; ok {
			return &refusal{t, text}
		}
		if t.Type == token.DocumentHeaderType && i > 0 {
			return &refusal{t, refused[token.DocumentEndType]}
		}
		g.look(t)
		if g.flow+len(g.blocks) > maxDepth {
			return &refusal{t, fmt.Sprintf("values are nested more than %d deep: flatten them", maxDepth)}
		}
		if g.cost > maxParseCost {
			return &refusal{t, "there are too many entries in one map: use a range, or split the file"}
		}
	}
	return nil
}

type guarded struct {
	flow   int // depth of brackets and braces
	blocks []blockLevel
	cost   int
}

// A blockLevel is a map or list that is written by indentation.
type blockLevel struct{ column, entries int }

func (g *guarded) look(t *token.Token) {
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		g.flow++
	case token.MappingEndType, token.SequenceEndType:
		g.flow = max(0, g.flow-1)
	case token.SequenceEntryType:
		g.entry(t)
	case token.MappingValueType:
		if t.Prev != nil {
			g.entry(t.Prev)
		}
	}
}

func (g *guarded) entry(t *token.Token) {
	if g.flow > 0 {
		return
	}
	column := t.Position.Column
	for len(g.blocks) > 0 && g.blocks[len(g.blocks)-1].column > column {
		g.blocks = g.blocks[:len(g.blocks)-1]
	}
	if len(g.blocks) == 0 || g.blocks[len(g.blocks)-1].column < column {
		g.blocks = append(g.blocks, blockLevel{column: column})
	}
	top := &g.blocks[len(g.blocks)-1]
	top.entries++
	g.cost += 2*top.entries - 1
}
