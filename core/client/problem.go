package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// An Error is what the gateway answers to a request that it could not fulfil. On
// the wire it is a problem document (RFC 9457).
type Error struct {
	Status int      `json:"status" doc:"The HTTP status"`
	Title  string   `json:"title" doc:"The status in words"`
	Code   string   `json:"code" doc:"What kind of fault, for programs" example:"not-connected"`
	Detail string   `json:"detail" doc:"What went wrong and what to do, for people"`
	Errors []string `json:"errors,omitempty" doc:"Every single fault, where there are several"`
}

func (e *Error) Error() string {
	if len(e.Errors) == 0 {
		return e.Detail
	}
	return e.Detail + ":\n  " + strings.Join(e.Errors, "\n  ")
}

// problem reads the body of an answer with a bad status.
func problem(answer *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the error of status %d: %w", answer.StatusCode, err)
	}
	var wire struct {
		Error
		Errors []json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &wire) != nil || wire.Detail == "" {
		return &Error{Status: answer.StatusCode, Code: codeOf(answer.StatusCode),
			Detail: fmt.Sprintf("the gateway answered %s: %.200s", answer.Status, body)}
	}
	e := wire.Error
	e.Status = answer.StatusCode
	if e.Code == "" {
		e.Code = codeOf(answer.StatusCode)
	}
	for _, raw := range wire.Errors {
		e.Errors = append(e.Errors, detail(raw))
	}
	return &e
}

// detail reads one entry of errors: a text of the gateway, or the object that the
// REST layer makes of a request that breaks the schema.
func detail(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object struct{ Message, Location string }
	if json.Unmarshal(raw, &object) == nil && object.Message != "" {
		return strings.TrimPrefix(object.Location+": "+object.Message, ": ")
	}
	return string(raw)
}

// codeOf is the code of a status that came without one.
func codeOf(status int) string {
	switch {
	case status == http.StatusNotFound:
		return "not-found"
	case status/100 == 4:
		return "bad-request"
	default:
		return "internal"
	}
}
