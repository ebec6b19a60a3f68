// Verifies wxgate's assertion of who calls, with nothing but the standard library.
//
//	go run . JWKS ISSUER AUDIENCE < token
//
// JWKS is a file or an address, best that of the gateway with /.well-known/jwks.json. Prints the claims, or says why not.
// A backend loads the keys once, loads them again every five minutes and when it meets a kid that it doesn't know (but
// not more than twice a minute, or strangers could make it), and gives Verify the value of X-WX-ASSERTION.
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	clockTolerance = 10 * time.Second
	mostBytes      = 64 * 1024
)

// Claims is what an assertion says.
type Claims struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	OpenID    string `json:"sub"`
	App       string `json:"app"`
	UnionID   string `json:"unionid,omitempty"`
	IssuedAt  int64  `json:"iat"`
	Expires   int64  `json:"exp"`
	NotBefore int64  `json:"nbf,omitempty"`
}

// Verifier knows whose word counts, and whom it has to be meant for.
type Verifier struct {
	// The public keys by their kid. Each says which algorithm it is for: what the token says of that only has to agree.
	Keys             map[string]crypto.PublicKey
	Issuer, Audience string
}

// Verify gives the claims of a token that is to be believed.
func (v Verifier) Verify(token string, now time.Time) (*Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a token of three parts")
	}
	var head struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Crit json.RawMessage `json:"crit"`
	}
	if err := decode(parts[0], &head); err != nil {
		return nil, fmt.Errorf("the head: %w", err)
	}
	if head.Crit != nil {
		return nil, errors.New("an extension that is not known here")
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return nil, fmt.Errorf("the signature: %w", err)
	}
	key, known := v.Keys[head.Kid]
	if !known {
		return nil, fmt.Errorf("no key %q", head.Kid)
	}
	// Nothing of the claims is looked at before this.
	if !signed(key, head.Alg, []byte(parts[0]+"."+parts[1]), signature) {
		return nil, errors.New("the signature is not that of the key, or of another algorithm")
	}
	var claims Claims
	if err := decode(parts[1], &claims); err != nil {
		return nil, fmt.Errorf("the claims: %w", err)
	}
	return &claims, v.check(claims, now)
}

func (v Verifier) check(claims Claims, now time.Time) error {
	early, late := now.Add(clockTolerance).Unix(), now.Add(-clockTolerance).Unix()
	switch {
	case claims.Issuer != v.Issuer:
		return fmt.Errorf("issued by %q", claims.Issuer)
	case claims.Audience != v.Audience:
		return fmt.Errorf("meant for %q", claims.Audience)
	case claims.OpenID == "" || claims.App == "":
		return errors.New("about nobody")
	case claims.Expires <= late:
		return errors.New("expired")
	case claims.IssuedAt == 0 || claims.IssuedAt > early || claims.NotBefore > early:
		return errors.New("not yet valid")
	}
	return nil
}

func signed(key crypto.PublicKey, alg string, message, signature []byte) bool {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return alg == "EdDSA" && ed25519.Verify(key, message, signature)
	case *ecdsa.PublicKey:
		if alg != "ES256" || len(signature) != 64 {
			return false
		}
		digest := sha256.Sum256(message)
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(key, digest[:], r, s)
	}
	return false
}

// ReadKeys reads a set of keys. Those of other kinds are left out.
func ReadKeys(jwks []byte) (map[string]crypto.PublicKey, error) {
	var set struct {
		Keys []struct{ Kty, Crv, Kid, X, Y string }
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, err
	}
	keys := make(map[string]crypto.PublicKey)
	for _, key := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(key.X)
		if err != nil {
			return nil, err
		}
		y, err := base64.RawURLEncoding.DecodeString(key.Y)
		if err != nil {
			return nil, err
		}
		switch {
		case key.Kid == "":
			return nil, errors.New("a key without a kid")
		case key.Kty == "OKP" && key.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize:
			keys[key.Kid] = ed25519.PublicKey(x)
		case key.Kty == "EC" && key.Crv == "P-256":
			point := &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
			if !point.Curve.IsOnCurve(point.X, point.Y) {
				return nil, fmt.Errorf("the key %q is not on its curve", key.Kid)
			}
			keys[key.Kid] = point
		}
	}
	return keys, nil
}

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	reader := json.NewDecoder(bytes.NewReader(text))
	if err := reader.Decode(into); err != nil {
		return err
	}
	if reader.More() {
		return errors.New("something follows the JSON")
	}
	return nil
}

func load(jwks string) ([]byte, error) {
	if !strings.HasPrefix(jwks, "http://") && !strings.HasPrefix(jwks, "https://") {
		return os.ReadFile(jwks)
	}
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(jwks)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", jwks, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, mostBytes))
}

func run(jwks, issuer, audience string) error {
	text, err := load(jwks)
	if err != nil {
		return err
	}
	keys, err := ReadKeys(text)
	if err != nil {
		return err
	}
	token, err := io.ReadAll(io.LimitReader(os.Stdin, mostBytes))
	if err != nil {
		return err
	}
	claims, err := Verifier{keys, issuer, audience}.Verify(strings.TrimSpace(string(token)), time.Now())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(claims)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: verify JWKS ISSUER AUDIENCE < token")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}
