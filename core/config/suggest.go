package config

import (
	"slices"
	"strings"
)

// suggest returns ` (did you mean "x"?)` where a word of the list is near.
func suggest(word string, list []string) string {
	word = strings.ToLower(word)
	best, bestDistance := "", 1+min(2, len(word)/2)
	for _, candidate := range list {
		d := distance(word, candidate)
		if d < bestDistance || d == bestDistance && best != "" && samePrefix(word, candidate) > samePrefix(word, best) {
			best, bestDistance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return ` (did you mean "` + best + `"?)`
}

func samePrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

const maxSuggest = 40 // longer words are not typing slips of ours

// distance counts the single letters to insert, remove, replace or swap.
func distance(a, b string) int {
	if len(a) > maxSuggest || len(b) > maxSuggest {
		return maxSuggest
	}
	var before, last, next [maxSuggest + 1]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(last[j]+1, next[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last = last, next
	}
	return last[len(b)]
}

// use says which words to choose from.
func use(words []string) string {
	if len(words) == 1 {
		return "use " + words[0]
	}
	return "use one of " + list(words)
}

// list joins words as "a, b and c", sorted.
func list(words []string) string { return join(slices.Sorted(slices.Values(words))) }

// join joins words as "a, b and c".
func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
