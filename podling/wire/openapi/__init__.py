"""The REST contract as an OpenAPI 3.1 document, made from the models that read and write it."""
