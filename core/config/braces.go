package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	// environment matches what a shell would replace by a variable of its environment.
	environment = regexp.MustCompile(`\$\{[A-Z_][A-Z0-9_]*\}`)
	// inBraces matches a name in braces, with what stands before them.
	inBraces = regexp.MustCompile(`[{$]?\{[A-Za-z_][A-Za-z0-9_]*\}`)
)

const noEnvironment = "%s is not replaced: variables of the environment are not taken: write the value, or `secret:NAME` for a secret"

// replacesNothing reports a text with a variable of the environment.
func (f *faults) replacesNothing(n *node) {
	if found := environment.FindString(n.text); found != "" {
		f.add(n.place, n.trail.String(), noEnvironment, found)
	}
}

// placeholders looks for braces that nothing will replace in settings. A driver that has
// placeholders of its own shows them, in braces, in the description of the setting.
func (k *checker) placeholders(s *schema, src *source) {
	for _, f := range src.settings {
		k.placeholdersIn(s, f.value, []string{f.key})
	}
}

func (k *checker) placeholdersIn(s *schema, n *node, location []string) {
	if s.describesBraces(location) {
		return
	}
	for _, f := range n.fields {
		k.placeholdersIn(s, f.value, append(slices.Clone(location), f.key))
	}
	for i, item := range n.items {
		k.placeholdersIn(s, item, append(slices.Clone(location), strconv.Itoa(i)))
	}
	if n.kind != kindText || !strings.Contains(n.text, "{") {
		return
	}
	k.replacesNothing(n)
	if environment.MatchString(n.text) {
		return
	}
	if found := unknownBraces(n.text); found != "" {
		k.warn(n.place, n.trail.String(), "%s", asItStands(found))
	}
}

// describesBraces reports whether the description of a setting, or of what it is part
// of, shows placeholders.
func (s *schema) describesBraces(location []string) bool {
	for i := range len(location) + 1 {
		if sub := s.walk(location[:i]); sub != nil && strings.Contains(sub.Description, "{") {
			return true
		}
	}
	return false
}

// unknownBraces returns a name in braces that is no placeholder, or "".
func unknownBraces(text string) string {
	for _, found := range inBraces.FindAllString(text, -1) {
		name := strings.Trim(found, "{$}")
		if !strings.HasPrefix(found, "{{") && variableOf(name) == 0 {
			return strings.TrimPrefix(found, "$")
		}
	}
	return ""
}

func asItStands(found string) string {
	return fmt.Sprintf("%s is taken as it stands: a placeholder is made of n, d and l", found)
}

// warn adds what is likely to be wrong and is no error.
func (k *checker) warn(at place, path, format string, args ...any) {
	k.warnings.add(at, path, format, args...)
}
