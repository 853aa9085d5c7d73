package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

// problem is an error on its way out as a problem document.
type problem client.Error

func (p *problem) Error() string { return p.Detail }

// GetStatus makes problem a huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType makes problem a huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// problemOf returns err as a problem, and nil for nil.
func problemOf(err error) error {
	if err == nil {
		return nil
	}
	return problemFrom(err)
}

func problemFrom(err error) *problem {
	var whole *client.Error
	if errors.As(err, &whole) {
		p := problem(*whole)
		p.Title = http.StatusText(p.Status)
		return &p
	}
	code := driver.CodeOf(err)
	status, text := statusOf(code), code.String()
	if ofTheMachine(err) {
		status, text = http.StatusServiceUnavailable, "machine"
	}
	return &problem{Status: status, Title: http.StatusText(status), Code: text, Detail: err.Error()}
}

// statusOf is the HTTP status that says the same as a driver's code. What follows from the
// request itself, such as a write to a device that takes none, is a 4xx: the same request
// would be refused again. 502 and 504 are for what a device did.
func statusOf(code driver.Code) int {
	switch code {
	case driver.InvalidConfig, driver.BadValue, driver.Unsupported:
		return http.StatusUnprocessableEntity
	case driver.NotConnected, driver.Busy:
		return http.StatusServiceUnavailable
	case driver.Timeout:
		return http.StatusGatewayTimeout
	case driver.Protocol:
		return http.StatusBadGateway
	case driver.NotFound:
		return http.StatusNotFound
	case driver.Denied:
		return http.StatusForbidden
	default:
		return http.StatusInternalServerError
	}
}

// ofTheMachine tells what the gateway's own file system did not let it do, such as writing
// to a full disk: nothing is wrong with the gateway or with what was asked for, and it can be
// asked for again when that is mended. What a driver says of its device has a code of its own.
func ofTheMachine(err error) bool {
	var said *driver.Error
	var onPath *fs.PathError
	var onPaths *os.LinkError
	return !errors.As(err, &said) && (errors.As(err, &onPath) || errors.As(err, &onPaths))
}

const (
	// maxNames bounds the names of one request, and maxGlobs those of them that are looked for
	// among all points; maxGlob is how long one of these may be.
	maxNames = 10_000
	maxGlobs = 100
	maxGlob  = 1000
)

// checkNames bounds what the names and patterns of one request may cost: each pattern is held
// against every point.
func checkNames(names []string) error {
	if len(names) > maxNames {
		return badRequest(fmt.Sprintf("%d names: give %d at most, or a pattern", len(names), maxNames))
	}
	globs := 0
	for _, name := range names {
		if !strings.ContainsAny(name, `*?[\`) {
			continue
		}
		if globs++; globs > maxGlobs || len(name) > maxGlob {
			return badRequest(fmt.Sprintf("the patterns: give %d at most, of %d bytes at most each", maxGlobs, maxGlob))
		}
	}
	return nil
}

// checkPatterns refuses a pattern that path.Match could never match, and too many.
func checkPatterns(patterns []string) error {
	if err := checkNames(patterns); err != nil {
		return err
	}
	for _, p := range patterns {
		for _, segment := range strings.SplitN(p, "/", 3) { // as they are matched
			if _, err := path.Match(segment, ""); err != nil {
				return badRequest("pattern " + shorten(p) + ": a bracket or a backslash is not closed: see `fieldloom watch --help`")
			}
		}
	}
	return nil
}

func badRequest(detail string) error {
	const status = http.StatusBadRequest
	return &problem{Status: status, Title: http.StatusText(status), Code: "bad-request", Detail: detail}
}

// plain makes a problem of ours of what huma says to a request that breaks the schema.
// huma's own repeats the value that is wrong, be it a whole body or a password.
func plain(_ huma.Context, _ string, v any) (any, error) {
	theirs, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &problem{Status: theirs.Status, Title: theirs.Title, Code: "bad-request", Detail: shorten(theirs.Detail)}
	if theirs.Status == http.StatusUnprocessableEntity {
		p.Detail = "the request breaks the API's schema, which /openapi.json has"
	}
	for _, e := range theirs.Errors[:min(len(theirs.Errors), maxDetails)] {
		p.Errors = append(p.Errors, strings.TrimPrefix(shorten(e.Location)+": "+shorten(e.Message), ": "))
	}
	return p, nil
}

const (
	maxDetails = 20  // of one problem
	maxDetail  = 200 // bytes
)

func shorten(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.ToValidUTF8(text[:maxDetail], "") + "..."
}
