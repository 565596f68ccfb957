package https

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// withIdentity is the environment of a probe that was granted own.
func withIdentity(t testing.TB, own tls.Certificate) sdk.Env {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return sdk.Env{Grants: sdk.Grants{sdk.CapabilityIdentity: b.Bytes()}}
}

func TestBadIdentity(t *testing.T) {
	_, err := New(defaults(), sdk.Env{Grants: sdk.Grants{sdk.CapabilityIdentity: []byte("x")}})
	if err == nil {
		t.Error("got no error for an identity that is none")
	}
}
