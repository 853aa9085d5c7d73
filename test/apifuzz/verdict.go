package apifuzz

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ofState are the refusals that do not follow from the request's form: of what is not there,
// what may not be, what the values mean, and what another call is doing.
var ofState = []int{http.StatusNotFound, http.StatusForbidden, http.StatusBadRequest, http.StatusConflict}

// judge says what is wrong with an answer: a 5xx that is no 503, an error without its reason,
// what would reach a terminal as it is.
func (c *call) judge(a *answer) error {
	switch {
	case a.status >= 500 && a.status != http.StatusServiceUnavailable:
		return errors.New("it is a fault of the gateway's, and no 503")
	case c.care == valid && c.method == "GET" && a.status >= 400 && a.status < 500 && !slices.Contains(ofState, a.status):
		return errors.New("it is refused though it is as the description says")
	}
	if a.status >= 400 && c.method != "HEAD" && strings.HasPrefix(a.media, "application/problem+json") {
		var p struct{ Code, Detail string }
		if err := json.Unmarshal(a.body, &p); err != nil || p.Code == "" || p.Detail == "" {
			return fmt.Errorf("it is an error without a code and a reason: %q", a.body)
		}
	} else if a.status >= 500 {
		return errors.New("it has no reason")
	}
	if !strings.Contains(a.media, "json") {
		return nil
	}
	for text := a.body; len(text) > 0; {
		r, n := utf8.DecodeRune(text)
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return fmt.Errorf("it has the character %U, which a terminal obeys", r)
		}
		text = text[n:]
	}
	return nil
}
