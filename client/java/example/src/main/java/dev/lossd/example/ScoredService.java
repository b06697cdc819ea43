// SPDX-License-Identifier: Apache-2.0

package dev.lossd.example;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.lossd.Evaluation;
import dev.lossd.Loss;
import dev.lossd.LossdClient;
import dev.lossd.LossdException;
import dev.lossd.Reduction;
import dev.lossd.Tensor;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * A classifier over HTTP that knows how good its answers are.
 *
 * <pre>
 * POST /predict?id=7  features "0.2 -1.5 0.3"   answers the class
 * POST /label?id=7    the true class "2"        answers the loss of that prediction
 * GET  /loss                                    answers the mean loss so far, and of how many predictions
 * </pre>
 *
 * <p>Requests are handled by many threads, and the client coalesces their calls.
 */
public final class ScoredService implements AutoCloseable {
  private static final float[][] WEIGHTS = {
    {1, -0.5f, 0.2f}, {-0.3f, 0.8f, 0.1f}, {0.1f, -0.2f, 1.1f}
  };

  private final LossdClient client;
  private final Evaluation evaluation;
  private final Map<String, float[]> served = new ConcurrentHashMap<>();
  private final ExecutorService threads = Executors.newFixedThreadPool(32);
  private final HttpServer http;

  private interface Handler {
    String answer(HttpExchange exchange, String body);
  }

  /**
   * Starts the service on a free port.
   *
   * @param lossd the address of the lossd server
   * @throws IOException if there is no free port
   */
  public ScoredService(String lossd) throws IOException {
    client = LossdClient.builder().address(lossd).coalesce(true).build();
    evaluation = client.evaluation();
    http = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
    http.setExecutor(threads);
    handle("/predict", (exchange, body) -> predict(id(exchange), body));
    handle("/label", (exchange, body) -> label(id(exchange), body));
    handle("/loss", (exchange, body) -> loss());
    http.start();
  }

  /**
   * The port.
   *
   * @return the port
   */
  public int port() {
    return http.getAddress().getPort();
  }

  @Override
  public void close() {
    http.stop(0);
    threads.shutdown();
    client.close();
  }

  private String predict(String id, String body) {
    double[] features =
        Arrays.stream(body.trim().split("\\s+")).mapToDouble(Double::parseDouble).toArray();
    float[] logits = new float[WEIGHTS.length];
    int best = 0;
    for (int row = 0; row < WEIGHTS.length; row++) {
      for (int column = 0; column < features.length; column++) {
        logits[row] += WEIGHTS[row][column] * (float) features[column];
      }
      best = logits[row] > logits[best] ? row : best;
    }
    served.put(id, logits);
    return Integer.toString(best);
  }

  private String label(String id, String body) {
    float[] logits = served.remove(id);
    if (logits == null) {
      throw new IllegalArgumentException("there was no prediction " + id);
    }
    Loss loss = client.crossEntropy(Tensor.of(logits), Tensor.scalar(Long.parseLong(body.trim())));
    synchronized (evaluation) {
      evaluation.add("", loss, Reduction.MEAN);
    }
    return Double.toString(loss.value());
  }

  private String loss() {
    synchronized (evaluation) {
      var total = evaluation.total();
      return total.value() + " of " + total.callCount();
    }
  }

  private void handle(String path, Handler handler) {
    http.createContext(
        path,
        exchange -> {
          int status = 200;
          String answer;
          try {
            String body =
                new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
            answer = handler.answer(exchange, body);
          } catch (LossdException error) {
            status = error.isRetryable() ? 503 : 400;
            answer = error.description();
          } catch (IllegalArgumentException | IllegalStateException error) {
            status = 400;
            answer = error.getMessage();
          }
          byte[] bytes = answer.getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(status, bytes.length);
          exchange.getResponseBody().write(bytes);
          exchange.close();
        });
  }

  private static String id(HttpExchange exchange) {
    String query = exchange.getRequestURI().getQuery();
    if (query == null || !query.startsWith("id=")) {
      throw new IllegalArgumentException("the query must be id=...");
    }
    return query.substring("id=".length());
  }

  /**
   * Runs the service until it is stopped.
   *
   * @param arguments the address of the lossd server
   * @throws IOException if there is no free port
   */
  public static void main(String[] arguments) throws IOException {
    var service = new ScoredService(arguments[0]);
    System.out.println("listens on 127.0.0.1:" + service.port());
  }
}
