package client

import (
	"encoding/json"
	"errors"
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

// CodeUnconfirmed is the code of an error that says of a command: it may have been done,
// wholly or in part, and nobody knows. Any other code says that it was not.
const CodeUnconfirmed = "unconfirmed"

// ErrUnconfirmed is in the tree of every error that says so of a command: it was sent, and
// its answer is lost, or the gateway itself does not know.
var ErrUnconfirmed = errors.New("it may have been done, or not")

// Is makes an Error with CodeUnconfirmed one of ErrUnconfirmed.
func (e *Error) Is(target error) bool { return target == ErrUnconfirmed && e.Code == CodeUnconfirmed }

// Unconfirmed makes the error of a command of which it is not known whether it was done.
func Unconfirmed(format string, args ...any) *Error {
	return &Error{Status: http.StatusGatewayTimeout, Title: http.StatusText(http.StatusGatewayTimeout),
		Code: CodeUnconfirmed, Detail: fmt.Sprintf(format, args...)}
}

// problem reads the body of an answer with a bad status.
func problem(answer *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return &Error{Status: answer.StatusCode, Code: codeOf(answer),
			Detail: fmt.Sprintf("the gateway answered %s, and the rest of its answer is lost: %v", answer.Status, err)}
	}
	var wire struct {
		Error
		Errors []json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &wire) != nil || wire.Detail == "" {
		return &Error{Status: answer.StatusCode, Code: codeOf(answer),
			Detail: fmt.Sprintf("the gateway answered %s: %.200s", answer.Status, body)}
	}
	e := wire.Error
	e.Status = answer.StatusCode
	if e.Code == "" {
		e.Code = codeOf(answer)
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

// codeOf is the code of an answer that came without one, from a proxy before the gateway
// perhaps.
func codeOf(answer *http.Response) string {
	switch status := answer.StatusCode; {
	case status == http.StatusNotFound:
		return "not-found"
	case status/100 == 4:
		return "bad-request"
	case status != http.StatusServiceUnavailable && answer.Request.Method != http.MethodGet:
		return CodeUnconfirmed
	default:
		return "internal"
	}
}
