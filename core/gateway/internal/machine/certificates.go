package machine

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
)

// certificateNotice is how long before a certificate ends its end is a warning.
const certificateNotice = 30 * 24 * time.Hour

// Certificates says which certificates that links use are at their end, or near it: what
// their settings name and what is a file of certificates. The machine's own bundles are
// left out: they hold old ones, and nobody here renews them.
func Certificates(c *config.Config, now time.Time) []string {
	links := make(map[string][]string) // by path
	for _, l := range c.Links {
		var settings any
		if json.Unmarshal(l.Settings, &settings) != nil {
			continue
		}
		for _, path := range paths(settings) {
			if !filepath.IsAbs(path) {
				path = filepath.Join(c.Dir, path)
			}
			if !slices.Contains(links[path], l.Name) {
				links[path] = append(links[path], l.Name)
			}
		}
	}
	var list []string
	for path, names := range links {
		if end, ok := firstEnd(path); ok && end.Sub(now) < certificateNotice {
			list = append(list, endText(path, names, end, now))
		}
	}
	slices.Sort(list)
	return list
}

func endText(path string, links []string, end, now time.Time) string {
	who := "link " + links[0]
	if len(links) > 1 {
		who += fmt.Sprintf(" and %d more", len(links)-1)
	}
	if end.Before(now) {
		return fmt.Sprintf("a certificate in %s, which %s uses, ended at %s: renew it", path, who, end.Local().Format(time.DateTime))
	}
	return fmt.Sprintf("a certificate in %s, which %s uses, ends at %s: renew it before", path, who, end.Local().Format(time.DateTime))
}

// paths gives the texts in settings that look like those of a file of certificates.
func paths(settings any) (list []string) {
	switch v := settings.(type) {
	case map[string]any:
		for _, value := range v {
			list = append(list, paths(value)...)
		}
	case []any:
		for _, value := range v {
			list = append(list, paths(value)...)
		}
	case string:
		switch strings.ToLower(filepath.Ext(v)) {
		case ".pem", ".crt", ".cer", ".cert":
			if !strings.Contains(v, "://") && !strings.HasPrefix(v, "/etc/ssl/certs/ca-") {
				list = append(list, v)
			}
		}
	}
	return list
}

// firstEnd is when the first of the certificates in a file ends; ok is false where there is
// none.
func firstEnd(path string) (end time.Time, ok bool) {
	blocks, err := readPEM(path)
	if err != nil {
		return end, false // the driver says what is wrong with it
	}
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err == nil && (!ok || c.NotAfter.Before(end)) {
			end, ok = c.NotAfter, true
		}
	}
	return end, ok
}
