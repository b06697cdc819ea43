// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The options of a {@link LossdClient}. */
public final class LossdClientBuilder {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private String address;
  private boolean tls;
  private Path authorities;
  private Path certificateChain;
  private Path privateKey;
  private ChannelCredentials credentials;
  private String token;
  private int connections = 1;
  private final Metadata headers = new Metadata();
  final List<ClientInterceptor> interceptors = new ArrayList<>();
  Duration timeout = Duration.ofSeconds(30);
  boolean retry = true;
  boolean coalesce;
  boolean split = true;
  int maxMessageBytes = 64 << 20; // the server's default limit

  LossdClientBuilder() {}

  /**
   * Sets the servers. Calls go to the servers in turn, and to the others while one cannot be
   * reached.
   *
   * @param address "host:port" or any gRPC target; several as "a:1,b:2". By default the variable
   *     LOSSD_ADDRESS.
   * @return this
   */
  public LossdClientBuilder address(String address) {
    this.address = address;
    return this;
  }

  /**
   * Uses TLS, and trusts the certificate authorities that Java trusts. By default the connection is
   * plaintext.
   *
   * @return this
   */
  public LossdClientBuilder tls() {
    this.tls = true;
    return this;
  }

  /**
   * Uses TLS, and trusts the certificate authorities in a file.
   *
   * @param authorities certificates in PEM
   * @return this
   */
  public LossdClientBuilder trustCertificates(Path authorities) {
    this.tls = true;
    this.authorities = authorities;
    return this;
  }

  /**
   * Uses mutual TLS: the client shows this certificate.
   *
   * @param certificateChain the certificate and its intermediates, in PEM
   * @param privateKey its key, as PKCS 8 in PEM
   * @return this
   */
  public LossdClientBuilder clientCertificate(Path certificateChain, Path privateKey) {
    this.tls = true;
    this.certificateChain = certificateChain;
    this.privateKey = privateKey;
    return this;
  }

  /**
   * Uses credentials that gRPC made, instead of those that the other methods describe.
   *
   * @param credentials the credentials
   * @return this
   */
  public LossdClientBuilder credentials(ChannelCredentials credentials) {
    this.credentials = credentials;
    return this;
  }

  /**
   * Sends a bearer token with every call. Without TLS, anyone who can read the network traffic can
   * use the token.
   *
   * @param token the token. By default the variable LOSSD_TOKEN; "" sends none.
   * @return this
   */
  public LossdClientBuilder token(String token) {
    this.token = token;
    return this;
  }

  /**
   * Sends a header with every RPC, such as "x-tenant".
   *
   * @param name its name
   * @param value its value, in ASCII
   * @return this
   */
  public LossdClientBuilder header(String name, String value) {
    headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value);
    return this;
  }

  /**
   * Sets the time limit of a call, retries included. A method's options may set another.
   *
   * @param timeout the limit; by default 30 seconds. {@code ChronoUnit.FOREVER.getDuration()} sets
   *     none.
   * @return this
   */
  public LossdClientBuilder timeout(Duration timeout) {
    this.timeout = timeout;
    return this;
  }

  /**
   * Sets whether calls that reach no server, or an overloaded one, are retried until they succeed
   * or the next attempt would come after their timeout. The pauses double from 50 ms up to 1 s,
   * minus a random part of up to half, plus the time that the server asks for. So no call fails if
   * a server restarts within the timeout.
   *
   * @param retry by default true; false throws the first error
   * @return this
   */
  public LossdClientBuilder retry(boolean retry) {
    this.retry = retry;
    return this;
  }

  /**
   * Sets whether concurrent calls share a stream, which costs the client and the server less. Each
   * call keeps its own timeout, error and answer. A lone call is sent at once.
   *
   * @param coalesce by default false
   * @return this
   */
  public LossdClientBuilder coalesce(boolean coalesce) {
    this.coalesce = coalesce;
    return this;
  }

  /**
   * Sets whether calls above a limit of the server are split along their batch dimension, and their
   * answers merged exactly.
   *
   * @param split by default true; false throws RESOURCE_EXHAUSTED instead
   * @return this
   */
  public LossdClientBuilder split(boolean split) {
    this.split = split;
    return this;
  }

  /**
   * Sets the number of connections to each server. A server with several workers assigns each
   * connection to one of them, so a client keeps at most as many workers busy as it has
   * connections.
   *
   * @param connections by default 1
   * @return this
   */
  public LossdClientBuilder connections(int connections) {
    if (connections < 1) {
      throw new IllegalArgumentException(
          "connections is " + connections + "; it must be at least 1");
    }
    this.connections = connections;
    return this;
  }

  /**
   * Adds an interceptor of gRPC, for example for traces and logs.
   *
   * @param interceptor the interceptor
   * @return this
   */
  public LossdClientBuilder intercept(ClientInterceptor interceptor) {
    interceptors.add(interceptor);
    return this;
  }

  /**
   * Sets the largest request and response message; the server's limit applies too.
   *
   * @param bytes by default 64 MiB, the server's default
   * @return this
   */
  public LossdClientBuilder maxMessageBytes(int bytes) {
    this.maxMessageBytes = bytes;
    return this;
  }

  /**
   * Makes the client. It connects with its first call.
   *
   * @return the client; close it
   * @throws IllegalArgumentException if no server is named, or the token cannot be sent
   * @throws UncheckedIOException if a certificate or key cannot be read
   */
  public LossdClient build() {
    List<String> targets = new ArrayList<>();
    addresses().forEach(target -> targets.addAll(Collections.nCopies(connections, target)));
    Metadata sent = new Metadata();
    sent.merge(headers);
    String bearer = checkedToken();
    if (!bearer.isEmpty()) {
      sent.put(AUTHORIZATION, "Bearer " + bearer);
    }
    return new LossdClient(this, targets, channelCredentials(), sent);
  }

  private List<String> addresses() {
    String given = address == null ? System.getenv("LOSSD_ADDRESS") : address;
    List<String> found = new ArrayList<>();
    for (String each : given == null ? new String[] {""} : given.split(",", -1)) {
      if (each.isBlank()) {
        throw new IllegalArgumentException(
            "no server address: give \"host:port\", several as \"a:1,b:2\", or set LOSSD_ADDRESS");
      }
      found.add(each.strip());
    }
    return found;
  }

  private String checkedToken() {
    String found = token == null ? System.getenv("LOSSD_TOKEN") : token;
    if (found != null && !found.matches("[!-~]*")) {
      throw new IllegalArgumentException(
          (token == null ? "LOSSD_TOKEN" : "token")
              + " holds a space, a line break or another character that cannot be sent: call"
              + " strip() on a token from a file");
    }
    return found == null ? "" : found;
  }

  private ChannelCredentials channelCredentials() {
    if (credentials != null) {
      return credentials;
    }
    if (!tls) {
      return InsecureChannelCredentials.create();
    }
    var made = TlsChannelCredentials.newBuilder();
    try {
      if (authorities != null) {
        made.trustManager(authorities.toFile());
      }
      if (certificateChain != null) {
        made.keyManager(certificateChain.toFile(), privateKey.toFile());
      }
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
    return made.build();
  }
}
