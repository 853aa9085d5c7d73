package pack_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fieldloom/fieldloom/core/pack"
)

// An author makes a package and signs it; an operator who trusts the author's key for
// this driver opens it.
func Example() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"driver.json": `{"name": "acme", "version": "1.2.3", "api": {"min": 1, "max": 1}, "wants": {"tcp": "from-links"}}`,
		"driver-acme": "#!/bin/sh\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			panic(err)
		}
	}

	// The author.
	public, private, err := pack.Keygen(nil)
	if err != nil {
		panic(err)
	}
	at := filepath.Join(dir, "acme-1.2.3")
	if _, err := pack.Assemble(at, pack.Assembly{
		Draft:       filepath.Join(dir, "driver.json"),
		Executables: map[string]string{pack.Platform(): filepath.Join(dir, "driver-acme")},
	}); err != nil {
		panic(err)
	}
	if err := pack.Sign(at, private, nil); err != nil {
		panic(err)
	}

	// The operator.
	trust, err := pack.NewTrust(pack.TrustedKey{Key: public, Drivers: []string{"acme*"}, Comment: "Acme Ltd"})
	if err != nil {
		panic(err)
	}
	p, err := pack.Open(at, trust)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Manifest.ID(), "by", p.Signer.Comment)

	// Somebody else.
	if err := os.WriteFile(filepath.Join(at, "extra"), nil, 0o600); err != nil {
		panic(err)
	}
	_, err = pack.Open(at, trust)
	fmt.Println(err)
	// Output:
	// acme-1.2.3 by Acme Ltd
	// package acme-1.2.3: extra: is not in the manifest
}
