import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Verifies wxgate's assertion of who calls, with nothing but Java 17.
 *
 * <pre>java Verify.java JWKS ISSUER AUDIENCE &lt; token</pre>
 *
 * JWKS is a file or an address, best that of the gateway with /.well-known/jwks.json. Prints the claims, or says why not.
 * A backend loads the keys once, loads them again every five minutes and when it meets a kid that it doesn't know (but not
 * more than twice a minute, or strangers could make it), and gives verify the value of X-WX-ASSERTION. One that has
 * a library for tokens already, as Spring Security has, gives it the same issuer, audience and algorithms instead.
 */
public final class Verify {
    private static final long CLOCK_TOLERANCE_SECONDS = 10;

    /** How many bytes a token or a set of keys may have. */
    private static final int MOST_BYTES = 64 * 1024;

    /** A public key and the one algorithm that it is for: what the token says of that only has to agree. */
    record Key(String algorithm, PublicKey key) {}

    private final Map<String, Key> keys;
    private final String issuer;
    private final String audience;

    Verify(Map<String, Key> keys, String issuer, String audience) {
        this.keys = keys;
        this.issuer = issuer;
        this.audience = audience;
    }

    /** The claims of a token that is to be believed. */
    Map<String, Object> verify(String token, Instant now) throws Refused, GeneralSecurityException {
        String[] parts = token.split("\\.", -1);
        if (parts.length != 3) {
            throw new Refused("not a token of three parts");
        }
        Map<String, Object> head = Json.object(decode(parts[0]));
        Key key = head.get("kid") instanceof String kid ? keys.get(kid) : null;
        if (key == null) {
            throw new Refused("no such key: " + head.get("kid"));
        }
        if (!key.algorithm().equals(head.get("alg"))) {
            throw new Refused("the key is not for the algorithm " + head.get("alg"));
        }
        if (head.containsKey("crit")) {
            throw new Refused("an extension that is not known here");
        }
        // Nothing of the claims is looked at before this.
        if (!signed(key, parts[0] + "." + parts[1], decode(parts[2]))) {
            throw new Refused("the signature is not that of the key");
        }
        Map<String, Object> claims = Json.object(decode(parts[1]));
        check(claims, now.getEpochSecond());
        return claims;
    }

    private void check(Map<String, Object> claims, long now) throws Refused {
        if (!issuer.equals(claims.get("iss"))) {
            throw new Refused("issued by " + claims.get("iss"));
        }
        if (!audience.equals(claims.get("aud"))) {
            throw new Refused("meant for " + claims.get("aud"));
        }
        if (!(claims.get("sub") instanceof String) || !(claims.get("app") instanceof String)) {
            throw new Refused("about nobody");
        }
        if (time(claims, "exp") <= now - CLOCK_TOLERANCE_SECONDS) {
            throw new Refused("expired");
        }
        long begins = claims.containsKey("nbf") ? Math.max(time(claims, "iat"), time(claims, "nbf")) : time(claims, "iat");
        if (begins > now + CLOCK_TOLERANCE_SECONDS) {
            throw new Refused("not yet valid");
        }
    }

    private static long time(Map<String, Object> claims, String name) throws Refused {
        if (claims.get(name) instanceof Number seconds) {
            return seconds.longValue();
        }
        throw new Refused("no " + name);
    }

    private static boolean signed(Key key, String message, byte[] signature) throws GeneralSecurityException {
        boolean ed25519 = key.algorithm().equals("EdDSA");
        if (signature.length != 64) {
            return false;
        }
        Signature verifier = Signature.getInstance(ed25519 ? "Ed25519" : "SHA256withECDSAinP1363Format");
        verifier.initVerify(key.key());
        verifier.update(message.getBytes(StandardCharsets.US_ASCII));
        return verifier.verify(signature);
    }

    /** The keys of a set by their kid. Those of other kinds are left out. */
    static Map<String, Key> readKeys(byte[] jwks) throws Refused, GeneralSecurityException {
        Map<String, Key> keys = new HashMap<>();
        if (!(Json.object(jwks).get("keys") instanceof List<?> list)) {
            throw new Refused("this is no set of keys");
        }
        for (Object item : list) {
            Map<?, ?> jwk = (Map<?, ?>) item;
            String kid = (String) jwk.get("kid");
            if ("Ed25519".equals(jwk.get("crv"))) {
                keys.put(kid, new Key("EdDSA", key("Ed25519", "302a300506032b6570032100", jwk.get("x"))));
            } else if ("P-256".equals(jwk.get("crv"))) {
                String before = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
                keys.put(kid, new Key("ES256", key("EC", before, jwk.get("x"), jwk.get("y"))));
            }
        }
        return keys;
    }

    /** A key of its coordinates, each of 32 bytes, and what stands before them in the X.509 form of this kind of key. */
    private static PublicKey key(String kind, String before, Object... coordinates)
            throws Refused, GeneralSecurityException {
        StringBuilder hex = new StringBuilder(before);
        for (Object coordinate : coordinates) {
            hex.append(HexFormat.of().formatHex(decode((String) coordinate)));
        }
        return KeyFactory.getInstance(kind).generatePublic(new X509EncodedKeySpec(HexFormat.of().parseHex(hex)));
    }

    private static byte[] decode(String part) throws Refused {
        try {
            return Base64.getUrlDecoder().decode(part);
        } catch (IllegalArgumentException error) {
            throw new Refused("not base64url");
        }
    }

    private static byte[] load(String jwks) throws IOException, InterruptedException, Refused {
        if (!jwks.startsWith("http://") && !jwks.startsWith("https://")) {
            return Files.readAllBytes(Path.of(jwks));
        }
        HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(jwks)).timeout(Duration.ofSeconds(5)).build();
        HttpResponse<byte[]> answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
        if (answer.statusCode() != 200) {
            throw new Refused(jwks + " answers " + answer.statusCode());
        }
        return answer.body();
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 3) {
            System.err.println("usage: java Verify.java JWKS ISSUER AUDIENCE < token");
            System.exit(2);
        }
        try {
            String token = new String(System.in.readNBytes(MOST_BYTES), StandardCharsets.US_ASCII).strip();
            Verify verifier = new Verify(readKeys(load(args[0])), args[1], args[2]);
            System.out.println(Json.text(verifier.verify(token, Instant.now())));
        } catch (Refused | GeneralSecurityException error) {
            System.err.println("refused: " + error.getMessage());
            System.exit(1);
        }
    }

    /** Why a token is not to be believed. */
    static final class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    /** As much JSON as a token needs, and strict: Java brings none. A name that stands twice is refused. */
    static final class Json {
        private static final int DEEPEST = 8;
        private final String text;
        private int at;

        private Json(String text) {
            this.text = text;
        }

        static Map<String, Object> object(byte[] bytes) throws Refused {
            Json json = new Json(new String(bytes, StandardCharsets.UTF_8));
            Object value = json.value(0);
            json.space();
            if (!(value instanceof Map<?, ?>) || json.at != json.text.length()) {
                throw new Refused("not a JSON object");
            }
            @SuppressWarnings("unchecked")
            Map<String, Object> object = (Map<String, Object>) value;
            return object;
        }

        private Object value(int depth) throws Refused {
            space();
            if (depth > DEEPEST || at == text.length()) {
                throw new Refused("not JSON");
            }
            switch (text.charAt(at)) {
                case '{':
                    return members(depth);
                case '[':
                    return items(depth);
                case '"':
                    return string();
                default:
                    return word();
            }
        }

        private Map<String, Object> members(int depth) throws Refused {
            Map<String, Object> members = new LinkedHashMap<>();
            at++;
            if (takes('}')) {
                return members;
            }
            do {
                space();
                String name = string();
                need(':');
                if (members.containsKey(name)) {
                    throw new Refused("the name " + name + " stands twice");
                }
                members.put(name, value(depth + 1));
            } while (takes(','));
            need('}');
            return members;
        }

        private List<Object> items(int depth) throws Refused {
            List<Object> items = new ArrayList<>();
            at++;
            if (takes(']')) {
                return items;
            }
            do {
                items.add(value(depth + 1));
            } while (takes(','));
            need(']');
            return items;
        }

        private String string() throws Refused {
            StringBuilder out = new StringBuilder();
            if (at == text.length() || text.charAt(at) != '"') {
                throw new Refused("not JSON");
            }
            for (at++; at < text.length() && text.charAt(at) != '"'; at++) {
                char c = text.charAt(at);
                if (c < ' ') {
                    throw new Refused("not JSON");
                }
                out.append(c == '\\' ? escape() : c);
            }
            need('"');
            return out.toString();
        }

        private char escape() throws Refused {
            at++;
            int kind = at < text.length() ? "\"\\/bfnrt".indexOf(text.charAt(at)) : -1;
            if (kind >= 0) {
                return "\"\\/\b\f\n\r\t".charAt(kind);
            }
            if (at + 4 < text.length() && text.substring(at, at + 5).matches("u[0-9a-fA-F]{4}")) {
                at += 4;
                return (char) Integer.parseInt(text.substring(at - 3, at + 1), 16);
            }
            throw new Refused("not JSON");
        }

        /** A number, true, false or null. */
        private Object word() throws Refused {
            int from = at;
            while (at < text.length() && " \t\r\n,]}".indexOf(text.charAt(at)) < 0) {
                at++;
            }
            String word = text.substring(from, at);
            if (word.matches("-?(0|[1-9][0-9]{0,17})")) {
                return Long.parseLong(word);
            }
            if (word.matches("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?")) {
                return Double.parseDouble(word);
            }
            return switch (word) {
                case "true" -> true;
                case "false" -> false;
                case "null" -> null;
                default -> throw new Refused("not JSON");
            };
        }

        private boolean takes(char wanted) {
            space();
            boolean there = at < text.length() && text.charAt(at) == wanted;
            at += there ? 1 : 0;
            return there;
        }

        private void need(char wanted) throws Refused {
            if (!takes(wanted)) {
                throw new Refused("not JSON");
            }
        }

        private void space() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
        }

        /** An object of texts and numbers, as JSON. */
        static String text(Map<String, Object> object) {
            List<String> members = new ArrayList<>();
            object.forEach((name, value) -> members.add(quoted(name) + ": " + (value instanceof String text ? quoted(text) : value)));
            return "{" + String.join(", ", members) + "}";
        }

        private static String quoted(String text) {
            return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
        }
    }
}
