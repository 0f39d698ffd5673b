// SPDX-License-Identifier: Apache-2.0
// BouncyCastle's EST client with a ready request. It is told nothing of birthmark.
//
// java -cp ... Judge.java HOST:PORT LABEL ROOT.pem CLIENT.p12 PASSWORD OPERATION [REQUEST.pem]
// OPERATION: cacerts, csrattrs, simpleenroll, simplereenroll. Prints what came back: PEM, OIDs, or the failure.

import java.io.FileInputStream;
import java.io.FileReader;
import java.io.IOException;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.Collections;
import javax.net.ssl.KeyManagerFactory;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.util.Store;

public class Judge {
    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        ESTService service = service(arguments);
        try {
            switch (arguments[5]) {
                case "cacerts" -> print(service.getCACerts().getCertificateStore());
                case "csrattrs" -> print(service.getCSRAttributes());
                case "simpleenroll" -> print(service.simpleEnroll(false, request(arguments[6]), null));
                case "simplereenroll" -> print(service.simpleEnroll(true, request(arguments[6]), null));
                default -> throw new IllegalArgumentException(arguments[5]);
            }
        } catch (ESTException failure) {
            System.out.println("REFUSED " + failure.getStatusCode() + " " + body(failure));
            System.exit(3);
        }
    }

    private static ESTService service(String[] arguments) throws Exception {
        X509Certificate root = (X509Certificate)
            CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(arguments[2]));
        char[] password = arguments[4].toCharArray();
        KeyStore identity = KeyStore.getInstance("PKCS12");
        identity.load(new FileInputStream(arguments[3]), password);
        KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(identity, password);
        JsseESTServiceBuilder builder = new JsseESTServiceBuilder(
            arguments[0],
            JcaJceUtils.getCertPathTrustManager(Collections.singleton(new TrustAnchor(root, null)), null));
        builder.withKeyManagers(managers.getKeyManagers()).withTLSVersion("TLS");
        if (!arguments[1].isEmpty()) {
            builder.withLabel(arguments[1]);
        }
        return builder.build();
    }

    private static PKCS10CertificationRequest request(String path) throws IOException {
        try (PEMParser parser = new PEMParser(new FileReader(path))) {
            return (PKCS10CertificationRequest) parser.readObject();
        }
    }

    private static void print(EnrollmentResponse response) throws IOException {
        if (!response.isCompleted()) {
            System.out.println("PENDING until " + response.getNotBefore());
            return;
        }
        print(response.getStore());
    }

    private static void print(Store<X509CertificateHolder> certificates) throws IOException {
        for (X509CertificateHolder each : certificates.getMatches(null)) {
            System.out.println("-----BEGIN CERTIFICATE-----");
            System.out.println(Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(each.getEncoded()));
            System.out.println("-----END CERTIFICATE-----");
        }
    }

    private static void print(CSRRequestResponse response) throws ESTException {
        for (ASN1ObjectIdentifier each : response.getAttributesResponse().getRequirements()) {
            System.out.println(each.getId());
        }
    }

    private static String body(ESTException failure) throws IOException {
        return failure.getBody() == null ? failure.getMessage() : new String(failure.getBody().readAllBytes());
    }
}
