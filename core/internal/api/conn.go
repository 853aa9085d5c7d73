package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/internal/caller"
)

// guardedConn is a connection and who opened it.
type guardedConn struct {
	net.Conn
	peer    *caller.Peer
	unknown error // why there is no peer
	closing sync.Once
}

// watch closes the connection when the process that opened it has ended.
func (c *guardedConn) watch() {
	go func() {
		if c.peer.Wait() {
			_ = c.cut()
		}
	}()
}

// linger is how long a connection that is closed still takes what comes.
const linger = 500 * time.Millisecond

// Close ends what is sent, and takes what still comes for a moment: net/http answers a request
// that it cannot parse, and closes, while the caller may still be sending the rest. Who
// cannot send would not read the answer.
func (c *guardedConn) Close() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return c.cut()
	}
	c.closing.Do(func() {
		limit := time.AfterFunc(linger, func() { _ = c.cut() })
		go func() {
			_, _ = io.Copy(io.Discard, c.Conn)
			limit.Stop()
			_ = c.cut()
		}()
	})
	return nil
}

// cut closes the connection at once, and ends the watch as well.
func (c *guardedConn) cut() error {
	if c.peer != nil {
		c.peer.Close()
	}
	return c.Conn.Close()
}

// Write sends what net/http writes, its own refusals as problem documents.
func (c *guardedConn) Write(b []byte) (int, error) {
	refusal := refusalOf(b)
	if refusal == nil {
		return c.Conn.Write(b)
	}
	if n, err := c.Conn.Write(refusal); err != nil {
		return min(n, len(b)), err
	}
	return len(b), nil
}

// refusalHeader is what net/http writes between the status and the text of a request that it
// refuses before a handler has it. It comes in one Write, and never from a handler, whose
// answers have a date; lines of JSON have no line ends of this kind.
var refusalHeader = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

// refusalOf makes a problem document of a refusal of net/http, and returns nil for anything
// else. 501 and 505, for a transfer coding and a version of HTTP that it does not know, become
// 400: they follow from the request.
func refusalOf(b []byte) []byte {
	line, ok := bytes.CutPrefix(b, []byte("HTTP/1.1 "))
	if !ok {
		return nil
	}
	line, text, ok := bytes.Cut(line, refusalHeader)
	if !ok || len(line) < 3 || bytes.ContainsAny(line, "\r\n") {
		return nil
	}
	status, err := strconv.Atoi(string(line[:3]))
	if err != nil {
		return nil
	}
	if status >= http.StatusInternalServerError {
		status = http.StatusBadRequest
	}
	body, _ := json.Marshal(problemFrom(&client.Error{Status: status, Code: "bad-request", // texts and numbers always marshal
		Detail: "the request is no HTTP that the gateway knows: " + shorten(string(text))}))
	body = append(client.PlainJSON(body), '\n')
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}
